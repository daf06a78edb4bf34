"""``tallycast revoke``: revoke the tokens of a visitor.

Does not depend on how revocations reach the servers.
"""

from tallycast.access.revocations import revoke as revoke_tokens
from tallycast.cli.engine import operator, with_engine
from tallycast.cli.options import Config, Data, SiteName, Subject
from tallycast.cli.sites import check_subject, find_site
from tallycast.config.settings import load
from tallycast.domain.sites import DEFAULT_SITE
from tallycast.engine.keys import member
from tallycast.engine.store import Store
from tallycast.ledger.trail import note
from tallycast.observability import logs

HELP = "Revoke all tokens issued to a visitor until now, on every server within 5 seconds."

EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast revoke --config tallycast.toml --site blog --sub 42[/cyan]
[dim]on the server with its data in ./data[/dim]

[cyan]REDIS_URL=redis://localhost:6379/0 tallycast revoke --config tallycast.toml --site blog --sub 42[/cyan]
[dim]on all servers of that database; set TALLYCAST_PREFIX if they have one[/dim]
"""


def revoke(sub: Subject, site: SiteName = DEFAULT_SITE, data: Data = None, config: Config = None) -> None:
    """Revoke, and say so."""
    logs.configure()
    settings = load(config=config, data=data)
    name = find_site(settings, site).name
    check_subject(sub)
    visitor = f"u:{sub}"

    async def work(engine: Store) -> None:
        await note(engine, operator(), "revoke", name, member=member(visitor))
        await revoke_tokens(engine, name, visitor)

    with_engine(settings, work, "not revoked")
    print("Revoked: tokens issued before now are refused.")
