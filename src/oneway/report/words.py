"""What a report calls those whose pictures were taken: people and their faces, or pictures of anything."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Words:
    """How sentences of a report name what its pictures show.

    Attributes:
        face: what a picture shows.
        person: who or what is told from others.
        group: whose pictures belong together.
        similarity: of a reconstruction and its original, as a judge sees it.
        who: asks for one of them.
        same: a second picture, which a picture is held against.
        pairs: by what a judge is measured.
        resampled: what intervals come from.

    """

    face: str
    faces: str
    person: str
    people: str
    group: str
    groups: str
    similarity: str
    who: str
    same: str
    pairs: str
    resampled: str

    def title(self, title: str) -> str:
        """Give the title of a figure."""
        return title.replace(OF_PEOPLE.similarity, self.similarity)


OF_PEOPLE = Words(
    face="face",
    faces="faces",
    person="person",
    people="people",
    group="person",
    groups="people",
    similarity="face similarity",
    who="who",
    same="a photograph of the same person",
    pairs="real pictures of one person",
    resampled="people, not pictures,",
)
OF_PICTURES = Words(
    face="picture",
    faces="pictures",
    person="picture",
    people="pictures",
    group="group",
    groups="groups",
    similarity="picture similarity",
    who="which",
    same="another picture of the same",
    pairs="real pictures, slightly changed",
    resampled="pictures",
)
