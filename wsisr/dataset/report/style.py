"""The style sheet of a report: a light page for a laptop screen, in the system font."""

CSS = """
:root { --ink: #1b222c; --soft: #5a6573; --rule: #e2e6eb; --paper: #fff; --ground: #f6f7f9; --blue: #25599c;
  --orange: #c2570c; --green: #2f7d4f; }
* { box-sizing: border-box; }
html { background: var(--ground); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; font-variant-numeric: tabular-nums; scroll-behavior: smooth; }
body { margin: 0 auto; max-width: 1160px; padding: 40px 32px 64px; }
h1 { font-size: 30px; line-height: 1.2; font-weight: 650; letter-spacing: -0.01em; margin: 4px 0 14px; }
h2 { font-size: 20px; line-height: 1.3; font-weight: 650; margin: 56px 0 6px; padding-top: 20px;
  border-top: 1px solid var(--rule); }
h3 { font-size: 16px; font-weight: 650; margin: 0; overflow-wrap: anywhere; }
h4 { font-size: 13px; font-weight: 650; margin: 24px 0 6px; }
p { margin: 0 0 10px; max-width: 76ch; }
a { color: var(--blue); text-decoration: none; }
a:hover { text-decoration: underline; }
.eyebrow { color: var(--soft); font-size: 13px; margin: 0; }
.lead { font-size: 17px; line-height: 1.5; }
.note, .numbers, .keys, figcaption, .tag { font-size: 13px; color: var(--soft); line-height: 1.45; }
.numbers { color: var(--ink); margin: 4px 0 2px; }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 22px 0 0; font-size: 14px; }
.figures { display: grid; grid-template-columns: repeat(6, 1fr); gap: 12px; margin: 24px 0 0; }
.figures div { background: var(--paper); border: 1px solid var(--rule); border-radius: 8px; padding: 12px 14px; }
.figures b { display: block; font-size: 20px; line-height: 1.25; font-weight: 650; white-space: nowrap; }
.figures span { font-size: 13px; color: var(--soft); }
.doubts { columns: 2; column-gap: 40px; padding-left: 20px; margin: 12px 0 0; }
.doubts li { break-inside: avoid; margin: 0 0 12px; padding-left: 4px; }
table { border-collapse: collapse; margin: 12px 0; font-size: 14px; width: 100%; }
th { font-weight: 600; font-size: 13px; color: var(--soft); text-align: left; vertical-align: bottom; }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--rule); }
td { vertical-align: top; overflow-wrap: anywhere; }
tr.total td { font-weight: 650; border-bottom: 0; }
.right { text-align: right; overflow-wrap: normal; }
.nowrap { white-space: nowrap; }
.grid { display: grid; gap: 20px; margin: 16px 0; }
.two { grid-template-columns: repeat(2, 1fr); }
.three { grid-template-columns: repeat(3, 1fr); }
.four { grid-template-columns: repeat(4, 1fr); }
figure { margin: 0; }
.chart { background: var(--paper); border: 1px solid var(--rule); border-radius: 8px; padding: 14px 16px 8px; }
.chart figcaption { margin: 0 0 10px; }
.chart b { color: var(--ink); font-size: 14px; font-weight: 650; }
svg { display: block; width: 100%; height: auto; }
.bars rect { fill: #8fadd2; }
.axis { stroke: #aab3be; stroke-width: 1; vector-effect: non-scaling-stroke; }
.median { stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 3 3; }
.tick { font-size: 11px; fill: var(--soft); }
.kernel polyline, .kernel line { fill: none; vector-effect: non-scaling-stroke; stroke-width: 1.4; }
.kernel .area { stroke: #8c96a3; stroke-dasharray: 2 3; }
.kernel .bicubic { stroke: var(--orange); stroke-dasharray: 6 4; }
.kernel .found { stroke: var(--blue); stroke-width: 2.2; }
.kernel .second { stroke: var(--green); }
.kernel .faint { stroke: var(--blue); stroke-opacity: 0.22; stroke-width: 1; }
.kernel .axis { stroke: var(--rule); }
.keys span { display: inline-flex; align-items: center; gap: 6px; margin-right: 14px; white-space: nowrap; }
.keys svg { width: 22px; height: 8px; }
.swatch { width: 11px; height: 11px; border-radius: 2px; display: inline-block; }
.examples { display: flex; flex-wrap: wrap; gap: 6px; }
.examples img { width: 72px; height: 72px; object-fit: cover; border-radius: 3px; display: block; }
.share { background: var(--rule); border-radius: 2px; height: 6px; width: 120px; margin-top: 8px; }
.share i { background: #8fadd2; border-radius: 2px; display: block; height: 6px; }
.slide { background: var(--paper); border: 1px solid var(--rule); border-radius: 10px; padding: 20px 24px;
  margin: 18px 0; }
.slide > header { display: flex; gap: 12px; align-items: baseline; flex-wrap: wrap; margin-bottom: 14px; }
.tag { border: 1px solid var(--rule); border-radius: 20px; padding: 0 10px; white-space: nowrap; }
.tag.val { border-color: var(--orange); color: var(--orange); }
.look { display: grid; grid-template-columns: 360px 1fr; gap: 28px; }
.look svg.map, .look > div > svg { border-radius: 4px; background: #fff; }
.look > * { min-width: 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 16px; margin: 0; }
dt { color: var(--soft); }
dt, dd { margin: 0; font-size: 14px; line-height: 1.45; overflow-wrap: anywhere; }
.links td, .links th { font-size: 13px; padding: 4px 10px 4px 0; vertical-align: middle; white-space: nowrap; }
.links svg { width: 100px; }
details { margin-top: 16px; }
summary { cursor: pointer; font-size: 14px; color: var(--blue); }
.pair { display: grid; grid-template-columns: 1fr repeat(4, 192px); gap: 12px; padding: 14px 0;
  border-top: 1px solid var(--rule); }
.pair:first-of-type { border-top: 0; }
.pair img { width: 192px; height: 192px; display: block; border-radius: 3px; background: #ddd; }
.pair .low, .pair .difference { image-rendering: pixelated; }
.pair .told b { display: block; font-size: 14px; margin-bottom: 4px; }
.pair .told { font-size: 13px; line-height: 1.45; color: var(--soft); overflow-wrap: anywhere; }
.pair .parameters { font-size: 12px; margin-top: 4px; }
.pair figcaption { margin-top: 4px; }
.alike { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
.alike img { width: 100%; display: block; border-radius: 3px; }
.alike figcaption { overflow-wrap: anywhere; }
.warning { border-left: 3px solid var(--orange); padding: 2px 0 2px 12px; }
footer { margin-top: 56px; padding-top: 16px; border-top: 1px solid var(--rule); font-size: 13px; color: var(--soft); }
@media (max-width: 1100px) { .figures { grid-template-columns: repeat(3, 1fr); }
  .four { grid-template-columns: 1fr 1fr; } .look { grid-template-columns: 1fr; }
  .pair { grid-template-columns: 192px 192px; } .doubts { columns: 1; } }
@media print { html { background: #fff; } .slide, .chart { break-inside: avoid; } }
"""
