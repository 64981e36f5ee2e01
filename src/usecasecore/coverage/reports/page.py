"""The style and the script of the HTML report."""

from __future__ import annotations

__all__ = ["SCRIPT", "STYLE"]

STYLE = """
:root{color-scheme:light dark;--text:#1c2733;--quiet:#5a6875;--page:#fff;--line:#d6dde4;--soft:#f4f6f8;--good:#136c3a;--bad:#b3261e;--partial:#8a5a00}
@media(prefers-color-scheme:dark){:root{--text:#e6ebf0;--quiet:#9fadba;--page:#14191f;--line:#33404d;--soft:#1c232b;--good:#5fcf8f;--bad:#ff8a80;--partial:#f2bf5e}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1.5rem;font:15px/1.5 system-ui,sans-serif;color:var(--text);background:var(--page)}
h1,h2{font-weight:600}h1 b,h2 b{font-weight:600;color:var(--quiet)}h2{margin-top:2.5rem}h3{margin:1.5rem 0 .5rem}
header p,section>p{margin:.25rem 0;color:var(--quiet)}p.bad{color:var(--bad)}p.good{color:var(--good)}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1rem}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{color:var(--quiet);font-weight:500}
.overview td{font-variant-numeric:tabular-nums}
td.good,tr.good>td:first-child{color:var(--good)}td.bad,tr.bad>td:first-child{color:var(--bad)}tr.partial>td:first-child{color:var(--partial)}
tr.shown{background:var(--soft);outline:2px solid var(--quiet)}
code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:var(--soft);padding:.75rem;overflow-x:auto}
ul{margin:.25rem 0;padding-left:1.2rem}.help{color:var(--quiet);font-size:.93em}
summary{cursor:pointer}a{color:inherit}
.picture{display:flex;gap:1rem;align-items:flex-start;flex-wrap:wrap}
.drawing{flex:0 1 auto;overflow-x:auto}.drawing svg{max-width:100%;height:auto}
.picture aside{flex:1 1 18rem;position:sticky;top:1rem;background:var(--soft);padding:.25rem .9rem;overflow-wrap:anywhere}
button{font:inherit;padding:.1rem .7rem}
"""

SCRIPT = """
for (const drawing of document.querySelectorAll('.drawing')) {
  const aside = drawing.parentElement.querySelector('aside');
  const before = aside.innerHTML;
  const show = event => {
    const found = event.target.closest('[data-item]');
    const row = found && document.getElementById(found.dataset.item);
    document.querySelectorAll('tr.shown').forEach(one => one.classList.remove('shown'));
    if (!row) { aside.innerHTML = before; return; }
    row.classList.add('shown');
    const cells = row.cells;
    const what = document.createElement('p');
    what.append(cells[1].querySelector('code').cloneNode(true), ': ' + cells[2].textContent);
    const told = cells[4].querySelector('ul') || cells[1].querySelector('.help');
    aside.replaceChildren(what, ...(told ? [told.cloneNode(true)] : []));
  };
  drawing.addEventListener('mouseover', show);
  drawing.addEventListener('focusin', show);
}
for (const button of document.querySelectorAll('button')) {
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    button.textContent = 'Copied';
  });
}
"""
