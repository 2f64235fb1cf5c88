"""Files that are looked at before they are imported."""

import shutil
from datetime import timedelta

from django.utils import timezone

from core.files import remove, untouched
from core.models import Upload


def receive(user, file, file_name: str) -> Upload:
    """Keep a file for its user, who has a day to import it."""
    upload = Upload(organization=user.organization, owner=user, file_name=file_name)
    upload.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file.seek(0)  # a repeated transaction has read it before
        with upload.path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        upload.save(force_insert=True)
    except BaseException:
        upload.path.unlink(missing_ok=True)
        raise
    return upload


def remove_old_uploads(seconds: float) -> None:
    """Remove uploads, and files that belong to none, that are older than this."""
    before = timezone.now() - timedelta(seconds=seconds)
    for upload in Upload.objects.filter(created_at__lt=before)[:1000]:
        upload.path.unlink(missing_ok=True)
        upload.delete()
    for path in untouched(Upload(pk="any").path.parent, 2 * seconds):
        remove(path)
