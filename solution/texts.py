"""Texts that people read in Dataverse, in the languages the product speaks, and how they become labels.

A Dataverse label holds one text per language. An environment takes only languages that are switched on in it, and
always wants one in its base language; where the product does not speak that language, English stands in.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

ENGLISH = 1033
GERMAN = 1031


@dataclass(frozen=True)
class Text:
    """One text in every language the product speaks."""

    english: str
    german: str

    def in_language(self, language: int) -> str:
        """Return the text for a language code; English for a language the product does not speak."""
        return self.german if language == GERMAN else self.english


@dataclass(frozen=True)
class Languages:
    """The base language of an environment and all that are switched on in it, as Windows language codes."""

    base: int = ENGLISH
    enabled: tuple[int, ...] = (ENGLISH,)

    def spoken(self) -> list[int]:
        """Return the languages that our labels are written in: the base language first.

        >>> Languages(1033, (1031, 1033, 1036)).spoken()
        [1033, 1031]
        """
        return [self.base, *(one for one in (ENGLISH, GERMAN) if one in self.enabled and one != self.base)]

    def label(self, text: Text | None) -> dict[str, Any]:
        """Return a label in the Web API's shape; None makes an empty one."""
        spoken = [] if text is None else [(one, text.in_language(one)) for one in self.spoken()]
        return {"@odata.type": "Microsoft.Dynamics.CRM.Label", "LocalizedLabels": [_localized(*one) for one in spoken]}

    def says(self, label: Any, text: Text) -> bool:
        """Tell whether a label read from Dataverse says this text in each of our languages."""
        said = {one.get("LanguageCode"): one.get("Label") for one in _localized_of(label)}
        return all(said.get(one) == text.in_language(one) for one in self.spoken())


def _localized(language: int, text: str) -> dict[str, Any]:
    return {"@odata.type": "Microsoft.Dynamics.CRM.LocalizedLabel", "Label": text, "LanguageCode": language}


def _localized_of(label: Any) -> Iterable[dict[str, Any]]:
    return (label or {}).get("LocalizedLabels") or ()
