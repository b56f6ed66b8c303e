// A run that is pressed or ticked, or the wish for more rows, is told to the server; what is picked shows at once.
element.addEventListener('click', (event) => {
  const row = event.target.closest('tr[data-run]');
  if (event.target.closest('button[data-more]')) return trigger('select', {more: true});
  if (!row) return;
  const box = row.querySelector('input');
  if (event.target === box) {
    row.classList.toggle('picked', box.checked);
    return trigger('select', {run: row.dataset.run, add: box.checked});
  }
  if (event.target.closest('td.tick')) return;
  for (const other of element.querySelectorAll('tr[data-run]')) {
    other.classList.toggle('picked', other === row);
    other.querySelector('input').checked = other === row;
  }
  trigger('select', {run: row.dataset.run});
});
