// A confusion, a picture or a file that is pressed is told to the server; the heads of the table of classes sort it here.
const tell = {true: 'true', predicted: 'predicted', index: 'index', file: 'file'};
element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  const head = button.closest('thead th');
  if (head && button.closest('.ft-classes')) return sort(head);
  const told = {};
  for (const [key, name] of Object.entries(tell)) {
    const value = button.dataset[name];
    if (value !== undefined) told[key] = key === 'file' ? value : Number(value);
  }
  if (!Object.keys(told).length) return;
  element.querySelectorAll('[aria-pressed]').forEach((other) => other.removeAttribute('aria-pressed'));
  if (!told.file) button.setAttribute('aria-pressed', 'true');
  trigger('select', told);
});
function sort(head) {
  const column = [...head.parentNode.children].indexOf(head);
  const down = head.getAttribute('aria-sort') !== 'descending';
  for (const other of head.parentNode.children) other.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  const body = head.closest('table').tBodies[0];
  const value = (row) => row.children[column].dataset.value;
  const compare = (a, b) => value(a) === undefined
    ? b.children[column].textContent.localeCompare(a.children[column].textContent, undefined, {numeric: true})
    : Number(value(b)) - Number(value(a));
  const rows = [...body.rows].sort(compare);
  (down ? rows : rows.reverse()).forEach((row) => body.append(row));
}
