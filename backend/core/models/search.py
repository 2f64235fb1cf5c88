from django.db import models


class SearchWord(models.Model):
    """A word that records hold, to be found by what a slip leaves of it (core.search).

    One row for each shortened form of the word, of which it is the longest itself.
    """

    # Not checked by the database: an import would pay for it with each of its words,
    # which are taken from rows whose organization was checked.
    organization = models.ForeignKey(
        "core.Organization",
        models.CASCADE,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    shortened = models.CharField(max_length=30)
    word = models.CharField(max_length=30)

    class Meta:
        indexes = [
            models.Index(
                fields=["organization", "shortened", "word"],
                name="searchword_shortened",
            )
        ]

    def __str__(self):
        return f"{self.shortened}: {self.word}"
