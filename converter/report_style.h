// The report's style sheet: light and dark, by what the reader's system prefers.
#ifndef OCTOBERT_CONVERTER_REPORT_STYLE_H_
#define OCTOBERT_CONVERTER_REPORT_STYLE_H_

namespace octobert::converter {

inline constexpr const char* kReportStyle = R"css(
:root{color-scheme:light dark;--page:#f6f5f1;--card:#fff;--ink:#1c2024;--soft:#5c646d;--line:#e2e0d9;--accent:#1f5fc4;
--second:#b4470c;--heat:#e8590c;--good:#1d7a46;--bad:#b3261e;--behind:#cfd4da;--fill:#7ea3dc;--mark:#ffe08a;
--float:#7a828b;--weight:#0b7f84;--dynamic:#1f5fc4;--static:#6b3fc0;--small:#9a5b00}
@media (prefers-color-scheme:dark){:root{--page:#111418;--card:#1a1e24;--ink:#e8eaed;--soft:#a2abb5;--line:#2e343c;
--accent:#82b1ff;--second:#ffab7a;--heat:#d9480f;--good:#6fd39a;--bad:#ff8a80;--behind:#3d454f;--fill:#47679b;
--mark:#6b5200;--float:#a2abb5;--weight:#5fd0d4;--dynamic:#82b1ff;--static:#b99cff;--small:#e6b35a}}
*{box-sizing:border-box}html{scroll-behavior:smooth;scroll-padding-top:3.5rem}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"DejaVu Sans",sans-serif}
main,header>div,footer,nav ul{max-width:1120px;margin:0 auto;padding:0 1.25rem}
header{padding:2.5rem 0 1.25rem}h1{font-size:2rem;line-height:1.2;margin:0;overflow-wrap:anywhere;letter-spacing:-.01em}
header p{margin:.25rem 0 0;color:var(--soft)}
h2{font-size:1.3rem;margin:0 0 .25rem;letter-spacing:-.005em}h3{font-size:1rem;margin:1.5rem 0 .5rem}
.lead{color:var(--soft);margin:0 0 1rem;max-width:70ch}
nav{position:sticky;top:0;z-index:1;background:var(--page);border-bottom:1px solid var(--line)}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:0 1.1rem;padding-top:.5rem;padding-bottom:.5rem}
a{color:var(--accent)}nav a{text-decoration:none;font-size:.92rem}nav a:hover{text-decoration:underline}
a:focus-visible,summary:focus-visible,.scroll:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.skip{position:absolute;left:-99em}.skip:focus{left:1rem;top:.5rem;background:var(--card);padding:.5rem;z-index:2}
section{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.4rem 1.5rem;margin:1.25rem 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(155px,1fr));gap:1rem;margin:1.25rem 0;padding:0;
list-style:none}
.tiles li{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1rem .85rem}
.tiles .what{color:var(--soft);font-size:.9rem;margin:0;overflow-wrap:anywhere}
.tiles .value{font-size:1.4rem;font-weight:650;line-height:1.25;margin:.1rem 0;font-variant-numeric:tabular-nums;
overflow-wrap:anywhere}
.tiles .why{color:var(--soft);font-size:.9rem;margin:0;overflow-wrap:anywhere}
.meter{display:block;height:8px;border-radius:4px;background:var(--line);margin:.35rem 0 .45rem;overflow:hidden}
.meter i{display:block;height:100%;width:calc(var(--v)*100%);background:var(--accent);border-radius:4px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.94rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding-bottom:.4rem}caption>span{display:inline-block;max-width:calc(100vw - 4.5rem)}
th{text-align:left;font-weight:600;color:var(--soft)}td,th{padding:.34rem .6rem;border-bottom:1px solid var(--line);
vertical-align:top}tbody th{color:var(--ink);font-weight:500;overflow-wrap:break-word}
td.n,th.n{text-align:right;white-space:nowrap}.short{white-space:nowrap}td.wide{width:45%;min-width:8rem}td.text{min-width:14rem}tr:last-child>*{border-bottom:0}
.heat td{text-align:center;border:2px solid var(--card);border-radius:6px;background:var(--line);
background:color-mix(in oklab,var(--heat) calc(var(--v)*62%),var(--page))}.heat th{border:0}
table.heat{table-layout:fixed;min-width:40rem}.heat thead th:first-child{width:4.2rem}.heat thead th{text-align:center;font-size:.86rem}.heat td.none{background:none;color:var(--soft)}
.scheme td,.scheme th{border:0;padding:.22rem .5rem}
.chip{display:inline-block;padding:.02rem .5rem;border-radius:99px;font-size:.86rem;border:1px solid currentColor;
color:var(--soft);white-space:nowrap}
.chip.float{color:var(--float)}.chip.weight-only{color:var(--weight)}.chip.dynamic{color:var(--dynamic)}
.chip.static{color:var(--static)}.chip.int4,.chip.codebook{color:var(--small)}
.bar{display:block;height:.5rem;margin:.22rem 0;border-radius:3px;width:max(2px,calc(var(--v)*100%));
background:var(--accent)}td.wide>.bar:only-child{margin:.48rem 0}.bar.second{background:var(--second)}
.key{display:inline-block;width:.8rem;height:.8rem;border-radius:3px;background:var(--accent);vertical-align:-.08rem;
margin-right:.3rem}.entry{display:inline-block;margin-right:.9rem}.key.second{background:var(--second)}
.key.area{background:color-mix(in oklab,var(--accent) 18%,var(--card));border:1px solid var(--accent)}
.key.round{border-radius:50%}.key.hollow{background:none;border:2px solid var(--second);transform:rotate(45deg) scale(.85)}
.key.other{height:0;border-radius:0;background:none;border-top:2px dashed var(--second);vertical-align:.22rem}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(225px,1fr));gap:1rem}
.panels.sites{grid-template-columns:repeat(var(--n),minmax(0,1fr));gap:1.2rem 1.4rem}
@media (max-width:800px){.panels.sites{grid-template-columns:repeat(auto-fill,minmax(160px,1fr))}}
figure{margin:0;min-width:0}.big{overflow-x:auto}.big svg{min-width:36rem}figcaption{font-size:.9rem;font-weight:600;overflow-wrap:anywhere}
.note{margin:.1rem 0 0;color:var(--soft);font-size:.82rem;line-height:1.4;overflow-wrap:anywhere}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font-size:10.5px;fill:var(--soft)}.big svg text{font-size:13px;paint-order:stroke;stroke:var(--card);stroke-width:4px}svg .mark,svg .name{fill:var(--ink)}
svg .mark{font-weight:600}svg .mid{text-anchor:middle}svg .end{text-anchor:end}
.grid{stroke:var(--line)}.axis{stroke:var(--soft)}
.line{fill:none;stroke:var(--accent);stroke-width:2;stroke-linejoin:round}
.line.behind{stroke:var(--behind);stroke-width:1.2}
.dot{fill:var(--accent);stroke:var(--card);stroke-width:1.5}.dot.last{fill:var(--good)}
.whole{fill:var(--card);stroke:var(--second);stroke-width:2}
.drop{stroke:var(--second);stroke-width:1;stroke-dasharray:2 4;opacity:.7}
.budget{stroke:var(--second);stroke-width:1.5;stroke-dasharray:6 4}
.bars{fill:var(--fill)}.band{fill:var(--accent);opacity:.13}.edge{stroke:var(--accent);stroke-width:1.4}
.edge.other{stroke:var(--second);stroke-dasharray:3 3}
ol.examples{list-style:none;margin:0;padding:0}
ol.examples li{padding:.8rem 0;border-top:1px solid var(--line);overflow-wrap:anywhere}
ol.examples p{margin:0 0 .35rem;white-space:pre-wrap}
mark{background:var(--mark);color:inherit;padding:.05em .2em;border-radius:4px;font-weight:600}
.labels{color:var(--soft);font-size:.92rem}.labels code{color:var(--ink)}
code{font-family:ui-monospace,"SFMono-Regular",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.92em;
overflow-wrap:anywhere}
.up{color:var(--good)}.down{color:var(--bad)}
.warnings{border-left:5px solid var(--second)}.warnings ul{margin:.3rem 0 0;padding-left:1.2rem;overflow-wrap:anywhere}
details>summary{cursor:pointer;color:var(--accent);margin:.75rem 0}
footer{color:var(--soft);font-size:.88rem;padding-bottom:2.5rem}
@media (max-width:600px){section{padding:1.1rem 1rem}h1{font-size:1.55rem}}
@media print{nav{display:none}section,figure,.tiles li{break-inside:avoid}body{background:none}}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
)css";

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_REPORT_STYLE_H_
