"""The style sheet of the HTML page, light and dark."""

STYLE = """
:root {
  --back: #f6f7f9; --paper: #fff; --ink: #1b1f24; --soft: #5b6570; --line: #e3e6ea; --rule: #c3c9d0;
  --one: #2563eb; --two: #d9480f; --three: #8b5cf6; --four: #0d9488; --band: #eef1f4;
  --good: #15803d; --bad: #c81e1e; --odd: #a16207;
  --good-back: #e7f6ec; --bad-back: #fdebeb; --odd-back: #fdf4dc;
}
@media (prefers-color-scheme: dark) { :root {
  --back: #0e1116; --paper: #161b22; --ink: #e6e9ee; --soft: #98a3b0; --line: #272e38; --rule: #46505c;
  --one: #6ea8fe; --two: #ff9d5c; --three: #b79cff; --four: #4fd1c5; --band: #1d232c;
  --good: #4ade80; --bad: #ff7b7b; --odd: #f4c542;
  --good-back: #12281a; --bad-back: #321616; --odd-back: #2f270f;
} }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; font-variant-numeric: tabular-nums }
header, main, footer { max-width: 960px; margin: 0 auto; padding: 0 24px }
header { padding-top: 40px; padding-bottom: 8px }
.kind { margin: 0; color: var(--soft); font-size: 13px; letter-spacing: .04em; text-transform: uppercase }
h1 { margin: 8px 0 12px; font-size: 25px; line-height: 1.3; font-weight: 650; text-wrap: balance }
.badge { display: inline-block; padding: 2px 12px; border-radius: 7px; margin-right: 6px; font-size: 20px;
  font-weight: 700; letter-spacing: .02em; vertical-align: 2px }
.good .badge, .mark.good { color: var(--good); background: var(--good-back) }
.bad .badge, .mark.bad { color: var(--bad); background: var(--bad-back) }
.odd .badge, .mark.odd { color: var(--odd); background: var(--odd-back) }
.what { margin: 0; color: var(--soft) } .what b { color: var(--ink); font-weight: 600 }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px;
  margin: 16px 0 }
h2 { margin: 0 0 8px; font-size: 16px; font-weight: 650 }
.about { margin: -4px 0 10px; color: var(--soft); font-size: 13.5px }
.note { background: var(--odd-back); border-color: var(--odd) } .note ul { margin: 0; padding-left: 20px }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 4px 20px }
.cards p { margin: 0; color: var(--soft); font-size: 13px }
.cards b { font-size: 25px; font-weight: 650; letter-spacing: -.01em }
.wide { overflow-x: auto }
table:not(.numbers) :is(td, th):first-child { width: 1% }
table { border-collapse: collapse; width: 100%; font-size: 14px }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 13px; white-space: nowrap }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top }
tbody tr:last-child td { border-bottom: 0 }
.numbers td:not(:first-child), .numbers th:not(:first-child) { text-align: right; white-space: nowrap }
.numbers td:first-child { min-width: 13em }
td small { color: var(--soft); overflow-wrap: anywhere }
.mark { display: inline-block; padding: 0 8px; border-radius: 5px; font-size: 12px; font-weight: 700 }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 0 16px }
dl { display: grid; grid-template-columns: 1fr auto; gap: 4px 16px; margin: 0; font-size: 14px }
dt { color: var(--soft) } dd { margin: 0; text-align: right }
figure { margin: 0; overflow-x: auto }
svg { display: block; width: 100%; height: auto } figure:not(.small) svg { min-width: 620px }
.grid-of { display: grid; gap: 16px 24px;
  grid-template-columns: repeat(auto-fill, minmax(min(380px, 100%), 1fr)) }
.small figcaption { font-size: 12.5px; color: var(--soft); overflow-wrap: anywhere }
.small b { color: var(--ink) }
svg text { font: 12px system-ui, sans-serif; fill: var(--soft) }
.grid { stroke: var(--line) } .axis-line { stroke: var(--rule) }
.band { fill: var(--band) } svg .band-name { font-size: 11px }
.limit { stroke: var(--bad); stroke-dasharray: 5 4 } svg .limit-name { fill: var(--bad); font-size: 11px }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round }
.area { opacity: .13; stroke: none }
.line.one { stroke: var(--one) } .line.two { stroke: var(--two) } .line.three { stroke: var(--three) }
.line.four { stroke: var(--four) } .line.quiet { stroke: var(--rule); stroke-width: 1.5 }
.area.one { fill: var(--one) } .area.two { fill: var(--two) } .area.four { fill: var(--four) }
svg .name { font-weight: 600 }
svg .name.one { fill: var(--one) } svg .name.two { fill: var(--two) }
svg .name.three { fill: var(--three) } svg .name.four { fill: var(--four) }
svg .name.quiet { fill: var(--soft) }
.tip rect { fill: transparent } .tip path { stroke: var(--rule); opacity: 0 }
.tip:hover path { opacity: 1 }
footer { padding: 4px 24px 48px; color: var(--soft); font-size: 13px }
@media print { body { background: #fff } section { break-inside: avoid } }
"""
