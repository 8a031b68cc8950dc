"""The look that the training report and the pages in Airflow's UI share, as text: each side makes its own Jinja environment."""

from __future__ import annotations

#: A Jinja template of a self-contained HTML page, for light and dark screens, wide and narrow. A page extends it: it sets
#: `title`, fills the block `content`, and may add CSS of its own in the block `style`.
PAGE_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>
:root { color-scheme: light dark; --ink: #1c2430; --dim: #5d6b7e; --line: #d9dfe7; --card: #f6f8fa; --accent: #2563c9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --dim: #9aa7b8; --line: #333c48; --card: #1b2129; --accent: #7fb0ff; }
  body { background: #12161c; } figure img { filter: invert(0.9) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 72rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
a { color: var(--accent); }
p { color: var(--dim); margin: .25rem 0; overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: .75rem; margin: 1.25rem 0; padding: 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.facts dt { color: var(--dim); font-size: .85rem; } .facts dd { margin: 0; font-size: 1.25rem; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--dim); font-weight: 500; }
tr.best td { color: var(--accent); font-weight: 600; }
td.value { white-space: nowrap; } td.error { min-width: 18rem; }
figure { margin: 0; } figure img { width: 100%; min-width: 36rem; height: auto; }
figure.half { display: inline-block; width: min(100%, 32rem); vertical-align: top; } figure.half img { min-width: 0; }
pre { overflow-x: auto; background: var(--card); padding: .75rem; }
{% block style %}{% endblock %}
</style></head><body>
<h1>{{ title }}</h1>
{% block content %}{% endblock %}
</body></html>
"""
