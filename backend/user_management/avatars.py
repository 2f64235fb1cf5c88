"""Pictures of people: small squares, stored by the hash of their bytes.

Each person has a folder of their own, so that only they, with their row locked, ever
write to it.
"""

import hashlib
import os
from functools import partial
from io import BytesIO
from pathlib import Path

from django.conf import settings
from django.core.files.base import File
from django.db import transaction
from PIL import Image, ImageOps

from core.models import Changes
from user_management.models import User

SIDE = 256
FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 40_000_000


class NoPicture(ValueError):
    """What was sent is none of ours to show; says why."""


def path_of(user_id, digest: str) -> Path:
    return Path(settings.MEDIA_ROOT) / "avatars" / str(user_id) / f"{digest}.webp"


def squared(file: File) -> bytes:
    """The middle of a picture as WebP of 256 x 256, without what else is in the file.

    Raises:
        NoPicture: it is none, not of these formats, or too large to unpack.
    """
    try:
        picture = Image.open(file, formats=FORMATS)
        # Only the head is read yet: what a picture unpacks to is known before it does.
        if picture.width * picture.height > MAX_PIXELS:
            raise NoPicture(f"At most {MAX_PIXELS // 10**6} million pixels.")
        # JPEG can be read smaller at once.
        picture.draft(None, (2 * SIDE, 2 * SIDE))
        picture = ImageOps.exif_transpose(picture).convert("RGBA")
        picture = ImageOps.fit(picture, (SIDE, SIDE))
    except NoPicture:
        raise
    except Exception as error:
        # Of a damaged file the decoders raise this or that.
        raise NoPicture("Give a picture as PNG, JPEG or WebP.") from error
    out = BytesIO()
    picture.save(out, "WEBP", quality=85)
    return out.getvalue()


def put(changes: Changes, user: User, picture: bytes) -> None:
    """Show this picture of a user, whose row is locked.

    The file is on the disk before the row can name it.
    """
    digest = hashlib.sha256(picture).hexdigest()
    path = path_of(user.pk, digest)
    if not path.exists():
        _write(path, picture)
    changes.save(user, avatar=digest)
    transaction.on_commit(partial(_tidy, user.pk))


def remove(changes: Changes, user: User) -> None:
    """Show no picture of a user, whose row is locked."""
    changes.save(user, avatar="")
    transaction.on_commit(partial(_tidy, user.pk))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)


def _tidy(user_id) -> None:
    """Remove the files that the row does not name: old, or of a write that failed."""
    with transaction.atomic():
        user = User.objects.select_for_update(of=("self",)).get(pk=user_id)
        kept = path_of(user_id, user.avatar)
        for path in kept.parent.glob("*"):
            if path != kept:
                path.unlink()
