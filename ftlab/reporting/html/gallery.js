// Shows the pictures of a gallery as cards, in the chosen order and of the chosen class, some at a time.
'use strict';

const CARDS_AT_A_TIME = 60;

const find = (id) => document.getElementById(id);
const pictures = JSON.parse(find('pictures').textContent);
pictures.forEach((picture, position) => {
  picture.position = position;
  [[picture.answer, picture.confidence]] = picture.scores;
});
const ORDERS = {
  mistakes: (a, b) => b.mistake - a.mistake || (a.mistake ? b.confidence - a.confidence : a.confidence - b.confidence),
  unsure: (a, b) => a.confidence - b.confidence,
  sure: (a, b) => b.confidence - a.confidence,
  file: () => 0,
};
let shown = []; // those of the chosen class, in the chosen order
let cardCount = 0;

// As ftlab writes it everywhere: 0 % and 100 % stand only for exactly 0 and 1.
const formatPercent = (value) => {
  if (value > 0 && value < 0.001) return '< 0.1 %';
  return value > 0.999 && value < 1 ? '> 99.9 %' : `${(100 * value).toFixed(1)} %`;
};

const makeBar = ([name, value]) => {
  const bar = find('bar').content.cloneNode(true);
  bar.querySelector('bdi').textContent = name;
  bar.querySelector('span').textContent = formatPercent(value);
  bar.querySelector('i').style.width = `${100 * value}%`;
  return bar;
};

const makeCard = (picture) => {
  const card = find('card').content.cloneNode(true);
  const showLine = (selector, text) => {
    const line = card.querySelector(selector);
    line.hidden = !text;
    (line.querySelector('bdi') || line).textContent = text;
  };
  card.querySelector('article').classList.toggle('mistake', picture.mistake);
  card.querySelector('.overlay').href = picture.overlay;
  const image = card.querySelector('img');
  Object.assign(image, {src: picture.overlay, width: picture.width, height: picture.height, alt: picture.file});
  showLine('.truth', picture.mistake ? picture.truth : '');
  showLine('.explained', picture.explained === picture.answer ? '' : picture.explained);
  showLine('.notes', picture.notes.join(' '));
  card.querySelector('.bars').append(...picture.scores.map(makeBar));
  card.querySelector('.file a').href = picture.source;
  card.querySelector('.file bdi').textContent = picture.file;
  return card;
};

const showMore = () => {
  const next = shown.slice(cardCount, cardCount + CARDS_AT_A_TIME);
  find('gallery').append(...next.map(makeCard));
  cardCount += next.length;
  find('more').hidden = cardCount === shown.length;
};

const showAll = () => {
  const chosen = find('class').value;
  shown = pictures.filter(({answer}) => !chosen || answer === chosen);
  shown.sort((a, b) => ORDERS[find('order').value](a, b) || a.position - b.position);
  find('gallery').replaceChildren();
  cardCount = 0;
  showMore();
};

const counts = new Map();
pictures.forEach(({answer}) => counts.set(answer, (counts.get(answer) || 0) + 1));
for (const name of [...counts.keys()].sort((a, b) => a.localeCompare(b))) {
  find('class').append(new Option(`${name} (${counts.get(name)})`, name));
}
find('order').addEventListener('change', showAll);
find('class').addEventListener('change', showAll);
find('more').addEventListener('click', showMore);
showAll();
