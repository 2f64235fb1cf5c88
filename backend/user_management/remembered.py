"""Credentials that were checked are not checked again while that is known to stand.

A process remembers who came with which `Authorization`, and the proof of it
(core.cache.Proof): the versions of all that says who may what, and the session behind
an access token, which must still be there. Each request asks for the proof in Redis, so
signing out, a new role or a revoked key count at once, whichever process wrote them.
Without Redis nothing is remembered.
"""

import pickle
from dataclasses import dataclass, replace
from hashlib import blake2b

from allauth.headless.internal.sessionkit import session_store
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.core.cache import caches
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from core import cache
from core.memory import Memory
from core.models import CustomField, Organization
from user_management.models import ApiKey, Role, Team, User

# What is known of a user and their organization as long as the proof stands.
RIGHTS = tuple(
    m.record_type() for m in (User, Role, Team, Organization, ApiKey, CustomField)
)


@dataclass(frozen=True, slots=True)
class Known:
    """Who came, pickled: what a request does to its user, no other request sees."""

    pickled: bytes
    proof: cache.Proof

    def found(self) -> tuple:
        """The user and the credentials, as an authentication class gives them."""
        user, credentials = pickle.loads(self.pickled)  # noqa: S301 - our own memory
        _prove(user, self.proof)
        return user, credentials


known = Memory(2000)


class Remembered:
    """Before an authentication class of DRF that reads the `Authorization` header.

    The class tells by `stands_on` what its credentials stand on.
    """

    def authenticate(self, request):
        header = request.META.get("HTTP_AUTHORIZATION")
        if not (header and settings.REDIS_URL):
            return super().authenticate(request)
        text = f"{type(self).__name__} {header}"
        key = blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
        entry = known.get(key)
        if entry and cache.stands(entry.proof):
            return entry.found()
        # A proof is of what is found after it; who was known before need not be found
        # for it.
        found = entry.found() if entry else super().authenticate(request)
        if not found:
            return found
        user, credentials = found
        needed, _ = self.stands_on(credentials)
        proof = cache.prove(user.organization_id, RIGHTS, [_name(user)], needed)
        if entry or proof:
            found = super().authenticate(request)
        if proof and found and found[0].pk == user.pk:
            _, until = self.stands_on(found[1])
            proof = replace(proof, until=until)
            known.put(key, Known(pickle.dumps(found), proof))
            _prove(found[0], proof)
        return found

    def stands_on(self, credentials) -> tuple[list[str], float]:
        """Keys in Redis without which these are void, and when they end."""
        raise NotImplementedError


def _prove(user, proof: cache.Proof) -> None:
    user.proof = user.organization.proof = proof


def key_of_session(session_key: str) -> str:
    """Where Redis keeps a session of django.contrib.sessions.backends.cached_db."""
    name = session_store(session_key).cache_key
    return caches[settings.SESSION_CACHE_ALIAS].client.make_key(name)


def _name(user) -> str:
    """The version of what the journal does not follow: password and second factors."""
    return f"who:{user.pk}"


def doubt(user: User) -> None:
    """Check anew who comes in this user's name."""
    cache.mark_until_commit(user.organization_id, [_name(user)])


# allauth writes these by itself, and tells in no other way.
@receiver((post_save, post_delete), sender=Authenticator)
def doubt_owner(instance, **kwargs):
    doubt(instance.user)
