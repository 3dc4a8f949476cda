"""A page that stands in for the Dynamics form: the same frames, the client API the tab needs, a strict content policy.

It is served by the Dataverse simulator's own process, because in Dynamics page, web resource and Web API have one
origin. Imitated: `main.aspx` for one record with tabs, a web resource control with passed parameters, the form library
and its OnLoad handler, `Xrm.WebApi` over the Web API, `Xrm.Utility.getGlobalContext`, side panes, a command button.
Not imitated: saving, attributes and business rules, sub-grids, the site map, everything else of `Xrm`.
"""

from sandbox.form.routes import routes_for

__all__ = ["routes_for"]
