"""A Dataverse environment with Customer Insights - Journeys, imitated over HTTP as far as a product around segments needs.

`DataverseSimulator` is the WSGI application; `python -m sandbox.dataverse` serves it. It starts with Microsoft's tables,
users, roles and forms and without any table of a customer: products create theirs through the metadata addresses, as in a
real environment. `GET /__sandbox__/routes` lists every imitated address; the methods under `DataverseSimulator.actions`
are also the control panel's `do/NAME`: seeding (`seed_contacts`, `load_contacts`, `load_rows`, `make_segment`, `opt_out`),
the service's own doings (`go_live`, `settle_segments`, `change_members`, `expire_links`), looking inside (`table`, `row`,
`users`, `marketer`, `deliveries`, `await_deliveries`), and trouble (`settings`, `limits`, `throttle`, `plan_deliveries`,
`redeliver`; named faults in `simulator.SERVICE_FAULTS`). Callers are known by a token of the Entra simulator, or as a person
by the cookie `sandbox-user=<systemuserid>`.

Where things are: `state` remembers, `rows` keeps it, `tables` and `building` describe it, `seeds`, `people` and `segments`
fill it; `records` knows the rules of rows, `privileges` who may, `queries`, `filters` and `fetchxml` how to ask,
`metadata` and `components` how an environment is changed, `webhooks` who is told, `protection` how much is too much;
`*_routes`, `actions`, `solutions` and `batch` speak HTTP, `errors` in the service's words.

Not imitated, and refused with 501 (0x80060893) rather than guessed at: synchronous steps and steps without a table; plug-ins
and custom APIs; service endpoints other than webhooks; acting for another user (CallerObjectId); deep insert; change
tracking; `$apply`, `$search`, lambda operators, OData functions other than contains, startswith and endswith, query functions
other than In, NotIn, Between, EqualUserId and NotEqualUserId; FetchXML aggregates other than one count, links other than
inner and outer, conditions across links; BulkDelete by anything but ids; SQL and saved queries in addresses.

Not imitated, and unknown addresses or simply absent: `$metadata`, elastic tables, solution import and dependencies as rows,
auditing, duplicate detection, sharing, teams' roles, column security, rollup and calculated columns, money's currency and
base columns, polymorphic lookups of one's own, activities, journeys, and the evaluation of dynamic segments (their members
are given). Kinder than the service: everybody signed in may read definitions; tables, columns and new rows of component
tables are seen before publishing; an index of an alternate key is ready at once; publishing and metadata are quick. Codes
and sentences follow Microsoft's documentation; those of paging cookies and of customization rules are the likeliest to differ.
"""

from sandbox.dataverse.simulator import DataverseSimulator

__all__ = ["DataverseSimulator"]
