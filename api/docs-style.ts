/** Style and behaviour of the documentation page, inlined so that it works without a network. */
export const docsStyle = `
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #5d6673; --page: #fff; --soft: #f5f6f8; --line: #e2e5ea; --code: #10151c; --accent: #b4232a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --dim: #97a1b0; --page: #14171c; --soft: #1b2027; --line: #2c333d; --code: #0c0f13; --accent: #ff7b72; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; }
body { margin: 0; display: grid; grid-template-columns: 19rem minmax(0, 1fr); color: var(--ink); background: var(--page); font: 15px/1.55 system-ui, sans-serif; }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 1.25rem 1rem; background: var(--soft); border-right: 1px solid var(--line); }
nav header { padding: 0 .5rem 1rem; } nav header strong { font-size: 1.15rem; } nav header span { color: var(--dim); }
nav input { width: 100%; margin-top: .75rem; padding: .45rem .6rem; color: inherit; background: var(--page); border: 1px solid var(--line); border-radius: 6px; font: inherit; }
nav h2 { margin: 1rem .5rem .25rem; color: var(--dim); font-size: .72rem; letter-spacing: .06em; text-transform: uppercase; }
nav a { display: flex; gap: .5rem; align-items: center; padding: .2rem .5rem; border-radius: 6px; color: inherit; font-size: .82rem; text-decoration: none; }
nav a span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; } nav a:hover { background: var(--line); }
nav b { flex: none; width: 3.1rem; } [hidden] { display: none !important; }
main { padding: 2rem 2.5rem 6rem; max-width: 84rem; } main h1 { margin: 0; font-size: 2rem; } .lead { margin-top: .25rem; color: var(--dim); font-size: 1.1rem; }
.conventions p { padding: 1rem 1.25rem; background: var(--soft); border: 1px solid var(--line); border-left: 3px solid var(--accent); border-radius: 8px; }
.tag > h2 { margin: 3rem 0 1rem; padding-bottom: .4rem; border-bottom: 1px solid var(--line); font-size: 1.35rem; }
article { margin-bottom: 2.25rem; padding-bottom: 1.75rem; border-bottom: 1px dashed var(--line); }
h3 { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; margin: 0; font-size: 1rem; } h3 code { font-size: .98rem; }
h4 { margin: 1.1rem 0 .35rem; font-size: .85rem; } small { color: var(--dim); font-weight: normal; } .summary { margin: .4rem 0; font-size: 1.05rem; }
b.get, b.post, b.put, b.patch, b.delete { padding: .05rem .3rem; border-radius: 4px; color: #fff; font: 600 .68rem/1.5 ui-monospace, monospace; text-align: center; text-transform: uppercase; }
b.get { background: #1f6feb; } b.post { background: #1a7f37; } b.put, b.patch { background: #9a6700; } b.delete { background: #cf222e; }
h3 b { min-width: 4rem; } .permission { padding: 0 .5rem; border: 1px solid var(--line); border-radius: 1rem; color: var(--dim); font: .75rem ui-monospace, monospace; }
.columns { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 2rem; } code, pre { font-family: ui-monospace, monospace; font-size: .84rem; }
figure { position: sticky; top: 1rem; align-self: start; margin: 1rem 0 0; overflow: hidden; border-radius: 8px; background: var(--code); color: #d7dde6; }
figcaption { display: flex; justify-content: space-between; padding: .4rem .8rem; border-bottom: 1px solid #ffffff1f; font-size: .75rem; }
figure pre { max-height: 28rem; margin: 0; padding: .8rem; overflow: auto; } .copy { padding: 0 .6rem; color: inherit; background: none; border: 1px solid #ffffff33; border-radius: 4px; cursor: pointer; font: inherit; }
dl { margin: 0; } dt { margin-top: .35rem; } dd { margin: 0 0 0 1rem; color: var(--dim); font-size: .88rem; }
.properties { margin: .2rem 0; padding-left: .9rem; border-left: 2px solid var(--line); list-style: none; } .properties li { padding: .12rem 0; font-size: .88rem; }
.properties p { margin: 0; color: var(--dim); } .properties em { color: var(--accent); font-style: normal; } .type { color: var(--dim); } a.type { color: var(--accent); }
.answer { margin: .3rem 0; font-size: .9rem; } .answer summary { cursor: pointer; } .status { padding: 0 .4rem; border-radius: 4px; font: 600 .78rem ui-monospace, monospace; }
.success { color: #1a7f37; background: #1a7f3722; } .failure { color: var(--dim); background: var(--soft); }
.schema { margin: .4rem 0; padding: .4rem .8rem; border: 1px solid var(--line); border-radius: 6px; } .schema summary { cursor: pointer; }
@media (max-width: 60rem) { body { display: block; } nav { position: static; height: auto; max-height: 16rem; } main { padding: 1.25rem; } .columns { grid-template-columns: minmax(0, 1fr); gap: 0; } }
`;

export const docsScript = `
for (const example of document.querySelectorAll('figure pre')) example.textContent = example.textContent.replace('$TOCSIN_URL', location.origin);
document.addEventListener('click', async ({ target }) => {
  if (!target.matches('.copy')) return;
  await navigator.clipboard.writeText(target.closest('figure').querySelector('pre').textContent);
  target.textContent = 'Copied';
  setTimeout(() => { target.textContent = 'Copy'; }, 1500);
});
const openTarget = () => { const found = document.getElementById(location.hash.slice(1)); if (found && found.tagName === 'DETAILS') found.open = true; };
addEventListener('hashchange', openTarget);
openTarget();
document.getElementById('find').addEventListener('input', ({ target }) => {
  const words = target.value.toLowerCase().split(/\\s+/);
  for (const link of document.querySelectorAll('nav a[href^="#"]')) {
    const article = document.getElementById(link.hash.slice(1));
    link.hidden = Boolean(article && article.dataset.find) && !words.every((word) => article.dataset.find.includes(word));
  }
});
`;
