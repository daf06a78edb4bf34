"""The longer help texts of the command line, in typer's markup.

Owns words only. Does not depend on what the commands do.
"""

# One line a paragraph: the help's width is the terminal's.
SERVE = """
Run the server until Ctrl+C or SIGTERM.

Reactions are stored in an embedded Valkey that starts and stops with the server and syncs every write to \
disk, or in the Redis or Valkey that [bold]REDIS_URL[/bold] names, in keys that begin with \
[bold]TALLYCAST_PREFIX[/bold].

Flags win over the environment, the environment over defaults.
"""

SERVE_EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast serve[/cyan]
[dim]this machine only, data in ./data[/dim]

[cyan]tallycast serve --host 0.0.0.0 --workers 4[/cyan]
[dim]every interface, four processes on one port[/dim]

[cyan]tallycast serve --config tallycast.toml[/cyan]
[dim]your sites, for your pages only[/dim]

[cyan]REDIS_URL=redis://localhost:6379/0 tallycast serve[/cyan]
[dim]your Redis (7.0 or later) or Valkey instead of the embedded engine[/dim]
"""

EMBED = """
Print the HTML that puts live reactions on your pages, ready to paste.

The script goes into a page once, a [bold]<live-reactions>[/bold] to every place that is to have buttons. \
No server has to run: the command reads the script that it was installed with.
"""

EMBED_EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast embed --server https://tally.example[/cyan]
[dim]for a template: every page is an item of its own, named by its address[/dim]

[cyan]tallycast embed --server https://tally.example --site blog --item posts/42[/cyan]
[dim]one item of the site blog[/dim]

[cyan]tallycast embed --server https://tally.example --pin > snippet.html[/cyan]
[dim]only this very version of the script, checked by the browser[/dim]
"""

TRY_EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast token --config tallycast.toml --site blog --sub 42[/cyan]
[dim]signed with the secret of the site blog, for one hour[/dim]

[cyan]tallycast token --config tallycast.toml --site blog --sub 42 --key-file private.pem --ttl 7d[/cyan]
[dim]signed with the private key that belongs to a public key of the site[/dim]
"""

REVOKE_EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast revoke --config tallycast.toml --site blog --sub 42[/cyan]
[dim]on the server whose data is in ./data[/dim]

[cyan]REDIS_URL=redis://localhost:6379/0 tallycast revoke --config tallycast.toml --site blog --sub 42[/cyan]
[dim]on all servers of that database; with TALLYCAST_PREFIX, if they have one[/dim]
"""

IMPORT = """
Import reactions, or counts to start from, beside a running server. Browsers see the counts move.

Reactions are a CSV file with a header, [bold]item,visitor,reaction[/bold] and perhaps [bold]time[/bold] \
(commas, semicolons, tabs or | between them), or on each line a JSON object with the same names. A visitor \
is u: and your user's id, or an anonymous a:…; a time is seconds since 1970, or like 2026-01-31T12:00:00Z.

Counts without visitors are [bold]item,like,dislike[/bold], or {"item": "posts/42", "counts": {"like": 12}}. \
They are set beside what visitors hold, not added.

The same file again changes nothing. Bad rows are told, counted and left out. Of a file whose header or \
encoding is wrong nothing is imported.

Exit status: 0 every row is imported; 1 some were bad, or it stopped and says where to go on; 130 interrupted.
"""

IMPORT_EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast import votes.csv --dry-run[/cyan]
[dim]is every row right?[/dim]

[cyan]tallycast import votes.csv --config tallycast.toml --site blog[/cyan]
[dim]into the site blog of the server whose data is in ./data[/dim]

[cyan]REDIS_URL=redis://localhost:6379/0 tallycast import votes.csv[/cyan]
[dim]into that database; with TALLYCAST_PREFIX, if its servers have one[/dim]

[cyan]tallycast import votes.txt --encoding cp1252 --delimiter :[/cyan]
[dim]neither UTF-8, nor with a delimiter that the header shows[/dim]

[cyan]zcat votes.ndjson.gz | tallycast import - --from 120001[/cyan]
[dim]from where it stopped[/dim]
"""

AUDIT = """
Print what was done with admin keys, and by revoke and import: when, who, what, on which site, to what. \
The oldest first.

With [bold]--items[/bold] or [bold]--all[/bold], count who holds what on items instead, compare that with \
their counts, and list and repair what differs. The exit status is 0 when nothing did, and 3 when something \
did or could not be told.
"""

AUDIT_EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast audit[/cyan]
[dim]of the server whose data is in ./data[/dim]

[cyan]REDIS_URL=redis://localhost:6379/0 tallycast audit | grep reset[/cyan]
[dim]of all servers of that database; with TALLYCAST_PREFIX, if they have one[/dim]

[cyan]tallycast audit --all[/cyan]
[dim]count who holds what on every item, and compare[/dim]

[cyan]tallycast audit --site blog --items posts/42 --items posts/43[/cyan]
[dim]the same for two items of the site blog[/dim]
"""
