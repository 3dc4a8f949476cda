"""What all parts of an install share: the Web API, what is known of the environment, the report, and what is to be published."""

from dataclasses import dataclass, field

from solution.environment import Environment
from solution.report import Report
from solution.texts import Languages
from solution.web import Web


@dataclass
class ToPublish:
    """What was changed and shows only after publishing: tables and choices by name, web resources by id."""

    tables: set[str] = field(default_factory=set)
    choices: set[str] = field(default_factory=set)
    web_resources: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        """Tell whether there is anything to publish."""
        return bool(self.tables or self.choices or self.web_resources)


@dataclass
class Run:
    """One install, check or removal."""

    web: Web
    environment: Environment
    report: Report
    publish: ToPublish = field(default_factory=ToPublish)

    @property
    def languages(self) -> Languages:
        """The environment's languages."""
        return self.environment.languages
