/** What the query says about looks, before anything is painted: theme=light|dark, background=transparent. */
{
  const query = new URLSearchParams(location.search);
  for (const name of ['theme', 'background']) {
    if (query.has(name)) document.documentElement.dataset[name] = query.get(name);
  }
}
