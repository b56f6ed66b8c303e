// The doctor's findings and map: a click on a button tells the server, a point of the map shows its picture. What is told
// has no key `path`: Gradio would take it for a file of its own.
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-do]');
  if (button) trigger('select', {...button.dataset});
});

function show(event) {
  const dot = event.target.closest?.('.ftlab-map circle');
  if (!dot) return;
  const look = dot.closest('.field').querySelector('.look');
  const picture = look.querySelector('.picture');
  const side = Number(picture.dataset.side), columns = Number(picture.dataset.columns), at = Number(dot.dataset.at);
  const scale = picture.clientWidth / side;
  picture.style.backgroundImage = `url(${look.querySelector('img').src})`;
  picture.style.backgroundSize = `${columns * side * scale}px auto`;
  picture.style.backgroundPosition =
    `${-(at % columns) * side * scale}px ${-Math.floor(at / columns) * side * scale}px`;
  picture.classList.add('shown');
  look.querySelector('p').textContent = `${dot.dataset.name} · ${dot.dataset.split} · ${dot.dataset.file}`;
  for (const other of dot.parentNode.querySelectorAll('.here')) other.classList.remove('here');
  dot.classList.add('here');
}
element.addEventListener('pointerover', show);
element.addEventListener('pointerdown', show);
