// Runs before first paint so that a dark page never flashes white. A file of its own: the CSP forbids inline scripts.
;(() => {
  let choice = null
  try {
    choice = localStorage.getItem('heimdall.theme')
  } catch {
    // Storage can be blocked; the system's theme then decides.
  }
  const dark = choice === 'dark' || (choice !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches)
  document.documentElement.classList.toggle('dark', dark)
  // The first frame in index.html is that of the jobs; an address of another tab keeps its place empty instead.
  const tab = new URLSearchParams(location.search).get('tab')
  if (tab === 'metrics' || tab === 'models') document.documentElement.dataset.first = tab
})()
