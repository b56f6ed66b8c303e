// The page of an exported model: pictures in, answers out, all in this browser. Nothing is sent anywhere.
'use strict';

const TOP_COUNT = 5;
const STORED_LANGUAGE = 'ftlab-page-language';
const LANGUAGE_TAGS = {en: 'en', zh: 'zh-Hans'};

const find = (id) => document.getElementById(id);
const model = new ModelClient();
const namesByLanguage = {};
let language = 'en';
let description; // model.json
let settings; // page.json
let check; // check.json
let isReady = false;
let lastAnswer; // {probabilities, classMaps, mapSize, size, shownClass}
let pictureNumber = 0;
let status = {key: '', values: {}};
let failure = {key: '', values: {}};
let stream;

const getText = (key, values = {}) =>
  PAGE_TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));

// Names of the classes for people, each once: where two are the same, the class or a number follows.
const listNames = () => {
  const {classes, names} = description;
  const texts = classes.map((name) => names[name]?.[language] || names[name]?.en || name);
  const counts = new Map();
  texts.forEach((text) => counts.set(text, (counts.get(text) || 0) + 1));
  const taken = new Set();
  return texts.map((text, index) => {
    const longer = counts.get(text) === 1 ? text : `${text} (${classes[index]})`;
    let shown = longer;
    for (let number = 2; taken.has(shown); number += 1) shown = `${longer} (${number})`;
    taken.add(shown);
    return shown;
  });
};

const getName = (index) => {
  namesByLanguage[language] ||= listNames();
  return namesByLanguage[language][index];
};

// 0 % and 100 % are written only for exactly 0 and 1.
const formatPercent = (value) => {
  if (value > 0 && value < 0.001) return '<\u00a00.1\u00a0%';
  if (value > 0.999 && value < 1) return '>\u00a099.9\u00a0%';
  return `${(100 * value).toFixed(1)}\u00a0%`;
};

// Texts

const chooseLanguage = () => {
  let stored = '';
  try {
    stored = localStorage.getItem(STORED_LANGUAGE) || '';
  } catch {
    // Storage is switched off: the browser's language it is.
  }
  const wishes = [stored, ...navigator.languages].map((wish) => wish.slice(0, 2).toLowerCase());
  return wishes.find((wish) => wish in PAGE_TEXTS) || 'en';
};

const tell = (key, values = {}) => {
  status = {key, values};
  find('status').textContent = key && getText(key, values);
};

const tellFailure = (key, values = {}) => {
  failure = {key, values};
  find('error').textContent = key && getText(key, values);
  find('error').hidden = !key;
};

const showTexts = () => {
  document.documentElement.lang = LANGUAGE_TAGS[language];
  document.querySelectorAll('[data-text]').forEach((element) => {
    element.textContent = getText(element.dataset.text);
  });
  document.querySelectorAll('[data-label]').forEach((element) => {
    element.setAttribute('aria-label', getText(element.dataset.label));
  });
  find('language').textContent = getText('other_language');
  find('language').lang = LANGUAGE_TAGS[language === 'zh' ? 'en' : 'zh'];
  tell(status.key, status.values);
  tellFailure(failure.key, failure.values);
  if (check !== undefined) showCard();
  if (lastAnswer) showAnswer();
};

const showCard = () => {
  document.title = find('title').textContent = description.title;
  find('card').textContent = getText('card', {
    backbone: settings.backbone,
    count: description.classes.length.toLocaleString(language),
    version: description.ftlab,
    runtime: settings.runtime,
  });
  const report = check.check;
  const key = report ? (check.forced ? 'failed' : 'checked') : 'unchecked';
  find('check').textContent = getText(key, {
    images: report?.images,
    same: report?.same_class,
    difference: report && Number(report.largest_difference).toPrecision(2),
  });
  const options = description.classes.map((_, index) => new Option(getName(index), index));
  options.sort((one, other) => one.text.localeCompare(other.text, language));
  find('class').replaceChildren(...options);
};

// Loading

const loadPage = async () => {
  if (location.protocol === 'file:') throw new PageError('no_server');
  const [readDescription, readSettings, readCheck] = await Promise.all(
    ['model.json', 'page.json', 'check.json'].map(fetchJson),
  );
  [description, settings, check] = [readDescription, readSettings, readCheck];
  showTexts();
  await model.load(settings.bytes, (share) => {
    find('progress').hidden = false;
    find('progress').firstElementChild.style.width = `${100 * share}%`;
    const percent = Math.round(100 * share);
    // Screen readers read the status aloud: not each byte of it.
    if (status.key !== 'loading' || percent >= status.values.percent + 10) tell('loading', {percent});
  });
  tell('starting');
  await model.start();
  isReady = true;
  tell('ready');
  find('choose').disabled = find('camera').disabled = false;
  document.body.dataset.state = 'ready';
  if (!readsTruePixels()) tellFailure('altered');
};

// Answers

const answerPicture = async (source) => {
  stopCamera();
  if (!isReady) {
    if (document.body.dataset.state === 'loading') tellFailure('not_ready');
    return;
  }
  const number = ++pictureNumber;
  const isWanted = () => number === pictureNumber;
  const start = performance.now();
  tellFailure('');
  tell('looking');
  document.body.dataset.state = 'busy';
  try {
    const {bitmap, isSmaller} = await openBitmap(source);
    const size = [bitmap.width, bitmap.height];
    let pixels;
    try {
      if (!isWanted()) return;
      showPicture(bitmap);
      pixels = await readPixels(bitmap);
    } catch (cause) {
      throw new PageError('no_answer', {cause: cause.message});
    } finally {
      bitmap.close();
    }
    const answer = await model.answer({pixels, width: size[0], height: size[1]}, isWanted);
    if (!isWanted()) return;
    lastAnswer = {...answer, size, shownClass: answer.probabilities.indexOf(Math.max(...answer.probabilities))};
    document.body.dataset.state = 'answered';
    tell(isSmaller ? 'done_smaller' : 'done', {milliseconds: Math.round(performance.now() - start)});
    showAnswer();
  } catch (error) {
    if (!isWanted()) return;
    showNothing();
    tell('ready');
    tellFailure(error.key || 'no_answer', error.values || {cause: error.message});
    if (!error.key) throw error;
  }
};

const clearAnswer = () => {
  lastAnswer = undefined;
  find('heat').hidden = find('evidence').hidden = find('unsure').hidden = true;
  find('bars').replaceChildren();
  find('bars-note').textContent = '';
};

const showNothing = () => {
  clearAnswer();
  document.body.dataset.state = 'ready';
  find('picture').hidden = true;
  find('empty').hidden = false;
  find('best').textContent = getText('waiting');
  find('best').dataset.text = 'waiting';
  find('waiting-step').hidden = false;
};

const showPicture = (bitmap) => {
  clearAnswer();
  drawShown(bitmap, find('picture'));
  find('picture').hidden = false;
  find('picture').setAttribute('aria-label', getText('looking'));
  find('empty').hidden = find('waiting-step').hidden = true;
  find('best').removeAttribute('data-text');
  find('best').textContent = '…';
};

const showAnswer = () => {
  const {probabilities, classMaps, shownClass} = lastAnswer;
  const order = probabilities.map((_, index) => index).sort((a, b) => probabilities[b] - probabilities[a]);
  const [best] = order;
  const isUnsure = probabilities[best] < description.threshold;
  find('best').textContent = getName(best);
  find('unsure').hidden = !isUnsure;
  find('unsure').textContent = getText('unsure', {
    sure: formatPercent(probabilities[best]),
    threshold: formatPercent(description.threshold),
  });
  const count = order.length;
  find('bars-note').textContent = getText(count > TOP_COUNT ? 'top' : 'all', {
    top: TOP_COUNT,
    count: count.toLocaleString(language),
  });
  const shown = order.slice(0, TOP_COUNT);
  if (classMaps && !shown.includes(shownClass)) shown.push(shownClass);
  const focused = document.activeElement?.closest?.('#bars button')?.dataset.index;
  find('bars').replaceChildren(...shown.map(makeBar));
  if (focused) find('bars').querySelector(`[data-index="${focused}"]`)?.focus();
  find('evidence').hidden = false;
  find('heat-fields').hidden = find('legend').hidden = !classMaps;
  find('class-field').hidden = count <= TOP_COUNT;
  find('class').value = shownClass;
  if (classMaps) {
    showHeat();
  } else {
    find('evidence-title').textContent = getText('no_map');
    find('heat-note').textContent = getText('no_map_why');
    find('picture').setAttribute('aria-label', getText('picture', {name: find('best').textContent}));
  }
};

const makeBar = (index) => {
  const {probabilities, classMaps, shownClass} = lastAnswer;
  const item = document.createElement('li');
  const bar = document.createElement(classMaps ? 'button' : 'div');
  bar.className = 'bar';
  if (classMaps) {
    bar.type = 'button';
    bar.dataset.index = index;
    bar.setAttribute('aria-pressed', String(index === shownClass));
    bar.addEventListener('click', () => showClass(index));
  }
  for (const text of [getName(index), formatPercent(probabilities[index])]) {
    const part = document.createElement('span');
    part.textContent = text;
    bar.append(part);
  }
  const track = document.createElement('i');
  track.setAttribute('aria-hidden', 'true');
  track.append(document.createElement('i'));
  track.firstChild.style.width = `${100 * probabilities[index]}%`;
  bar.append(track);
  item.append(bar);
  return item;
};

const showClass = (index) => {
  lastAnswer.shownClass = index;
  showAnswer();
};

const showHeat = () => {
  const {classMaps, mapSize, shownClass, size} = lastAnswer;
  const length = mapSize[0] * mapSize[1];
  const map = classMaps.slice(shownClass * length, (shownClass + 1) * length).map((value) => Math.max(0, value));
  const peak = Math.max(...map);
  const canvas = find('heat');
  canvas.width = find('picture').width;
  canvas.height = find('picture').height;
  const box = findVisibleBox(size, [canvas.width, canvas.height], description.preprocessing);
  if (peak) paintHeat(canvas, map.map((value) => value / peak), mapSize, box, false);
  canvas.hidden = find('legend').hidden = find('opacity-field').hidden = !peak;
  const [left, top, right, bottom] = box;
  // Rounding may take a pixel off at each side: that needs no note that the model saw only a part.
  const seesAll = (right - left) * (bottom - top) >= 0.995 * canvas.width * canvas.height;
  const name = getName(shownClass);
  find('evidence-title').textContent = getText('evidence', {name});
  find('heat-note').textContent = [
    !peak && getText('no_evidence'),
    getText('choose_class'),
    peak && !seesAll && getText('unseen'),
  ]
    .filter(Boolean)
    .join(language === 'zh' ? '' : ' ');
  find('picture').setAttribute('aria-label', getText(peak ? 'picture_heat' : 'picture', {name}));
};

// Camera

const stopCamera = () => {
  stream?.getTracks().forEach((track) => track.stop());
  stream = undefined;
  find('video').srcObject = null;
  find('video').hidden = find('take').hidden = find('cancel').hidden = true;
  find('choose').hidden = false;
  find('camera').hidden = !hasCamera;
};

const startCamera = async () => {
  if (!navigator.mediaDevices?.getUserMedia) {
    find('capture').click(); // without HTTPS there is no live camera, but a phone's own program for it
    return;
  }
  tellFailure('');
  const number = pictureNumber;
  try {
    const newStream = await navigator.mediaDevices.getUserMedia({
      video: {facingMode: 'environment', width: {ideal: 1920}},
    });
    stopCamera();
    stream = newStream;
    if (number !== pictureNumber) throw new Error('another picture came meanwhile');
    find('video').srcObject = stream;
    await find('video').play();
  } catch {
    stopCamera();
    if (number === pictureNumber) tellFailure('no_camera');
    return;
  }
  find('video').hidden = find('take').hidden = find('cancel').hidden = false;
  find('choose').hidden = find('camera').hidden = true;
  find('take').focus();
};

const takePicture = () => {
  const video = find('video');
  const canvas = makeCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext('2d').drawImage(video, 0, 0);
  answerPicture(canvas);
  find('choose').focus();
};

const cancelCamera = () => {
  stopCamera();
  find('camera').focus();
};

// Events

const hasCamera = Boolean(navigator.mediaDevices?.getUserMedia) || matchMedia('(pointer: coarse)').matches;
find('camera').hidden = !hasCamera;
find('camera').addEventListener('click', startCamera);
find('take').addEventListener('click', takePicture);
find('cancel').addEventListener('click', cancelCamera);
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && stream) cancelCamera();
});
addEventListener('pagehide', stopCamera);
for (const id of ['choose', 'empty']) {
  find(id).addEventListener('click', () => isReady && find('file').click());
}
for (const field of [find('file'), find('capture')]) {
  field.addEventListener('change', () => {
    if (field.files.length) answerPicture(field.files[0]);
    field.value = ''; // the same file may be chosen again
  });
}
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  document.body.classList.add('dragging');
});
document.addEventListener('dragleave', (event) => {
  if (!event.relatedTarget) document.body.classList.remove('dragging');
});
document.addEventListener('drop', (event) => {
  event.preventDefault();
  document.body.classList.remove('dragging');
  if (event.dataTransfer.files.length) answerPicture(event.dataTransfer.files[0]);
  else if (isReady) tellFailure('no_file_dropped');
});
document.addEventListener('paste', (event) => {
  if (event.clipboardData.files.length) answerPicture(event.clipboardData.files[0]);
});
find('class').addEventListener('change', () => showClass(Number(find('class').value)));
find('opacity').addEventListener('input', () => {
  find('heat').style.opacity = find('opacity').value / 100;
});
find('language').addEventListener('click', () => {
  language = language === 'zh' ? 'en' : 'zh';
  try {
    localStorage.setItem(STORED_LANGUAGE, language);
  } catch {
    // Storage is switched off: the choice lasts as long as the page.
  }
  showTexts();
});

language = chooseLanguage();
find('opened').hidden = true;
showTexts();
loadPage()
  .catch((error) => {
    document.body.dataset.state = 'failed';
    tell('');
    tellFailure(error.key || 'no_model', error.values || {cause: error.message});
    if (!error.key) throw error;
  })
  .finally(() => {
    find('progress').hidden = true;
  });
