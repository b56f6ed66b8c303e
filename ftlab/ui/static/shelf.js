// A run that is pressed or ticked, or the wish for more rows, is told to the server; what is picked shows at once.
element.addEventListener('click', (event) => {
  const row = event.target.closest('tr[data-run]');
  if (event.target.closest('button[data-more]')) return trigger('select', {more: true});
  if (event.target.closest('button[data-useless]')) return trigger('select', {useless: true});
  if (!row) return;
  const box = row.querySelector('input');
  if (event.target === box) {
    row.classList.toggle('picked', box.checked);
    return trigger('select', {run: row.dataset.run, add: box.checked});
  }
  if (event.target.closest('td.tick')) return;
  for (const other of element.querySelectorAll('tr[data-run]')) other.classList.toggle('picked', other === row);
  trigger('select', {run: row.dataset.run});
});

// A new table is laid over the old one, whose ticks would stay where they were: the row's class says what is ticked.
new MutationObserver(() => {
  for (const row of element.querySelectorAll('tr[data-run]')) {
    row.querySelector('input').checked = row.classList.contains('picked');
  }
}).observe(element, {subtree: true, childList: true, attributes: true, attributeFilter: ['class', 'data-run']});
