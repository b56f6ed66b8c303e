// Fetches the files of the model and asks it, in a thread of its own (`model_worker.js`).
'use strict';

const MODEL_FILE = 'model.onnx';
const RUNTIME_FOLDER = 'onnxruntime-web';
const RUNTIME_SCRIPT = `${RUNTIME_FOLDER}/ort.wasm.min.js`;
const RUNTIME_MODULE = `${RUNTIME_FOLDER}/ort-wasm-simd-threaded.mjs`;
const RUNTIME_BINARY = `${RUNTIME_FOLDER}/ort-wasm-simd-threaded.wasm`;
const WORKER_SCRIPT = 'model_worker.js';
// Bytes of pixels after which a new thread is started: the memory of WebAssembly grows, and never shrinks.
const MAX_KEPT_BYTES = 64e6;

// What went wrong, as a text of the page with its values.
class PageError extends Error {
  constructor(key, values = {}) {
    super(key);
    this.key = key;
    this.values = values;
  }
}

// Returns the content of a file beside the page, which is complete if it is as long as the settings say.
const fetchFile = async (name, expectedLength, report = () => {}) => {
  const parts = [];
  let length = 0;
  try {
    // A page that was replaced has other files under the same names.
    const response = await fetch(name, {cache: 'no-cache'});
    if (!response.ok) throw new Error(response.statusText);
    const reader = response.body.getReader();
    for (let step = await reader.read(); !step.done; step = await reader.read()) {
      parts.push(step.value);
      length += step.value.length;
      report(step.value.length);
    }
  } catch {
    throw new PageError('no_file', {name});
  }
  if (expectedLength !== undefined && length !== expectedLength) throw new PageError('wrong_file', {name});
  return new Blob(parts);
};

const fetchJson = async (name) => {
  const content = await fetchFile(name);
  try {
    return JSON.parse(await content.text());
  } catch {
    throw new PageError('wrong_file', {name});
  }
};

class ModelClient {
  #files = {};
  #worker;
  #queue = Promise.resolve();

  // Fetches all files of the model, given the lengths of the large ones; `report` is called with the share of their bytes
  // that is here, in [0, 1].
  async load(lengths, report) {
    const total = Object.values(lengths).reduce((sum, length) => sum + length, 0);
    let received = 0;
    const count = (bytes) => {
      received += bytes;
      report(Math.min(1, received / total));
    };
    // The length of a text is that of its lines' ends too, which some tools change.
    const scripts = [RUNTIME_SCRIPT, RUNTIME_MODULE, WORKER_SCRIPT];
    const contents = await Promise.all([
      ...[MODEL_FILE, RUNTIME_BINARY].map((name) => fetchFile(name, lengths[name], count)),
      ...scripts.map((name) => fetchFile(name)),
    ]);
    [MODEL_FILE, RUNTIME_BINARY, ...scripts].forEach((name, index) => (this.#files[name] = contents[index]));
  }

  // Starts the thread with the model in it.
  async start() {
    if (typeof WebAssembly !== 'object') throw new PageError('no_wasm');
    // From the page's own memory, the thread is bound by the page's Content-Security-Policy; from an address it is not.
    const script = new Blob([this.#files[RUNTIME_SCRIPT], '\n', this.#files[WORKER_SCRIPT]], {type: 'text/javascript'});
    const address = URL.createObjectURL(script);
    this.#worker = new Worker(address);
    try {
      const [model, binary, module] = await Promise.all(
        [MODEL_FILE, RUNTIME_BINARY, RUNTIME_MODULE].map((name) => this.#files[name].arrayBuffer()),
      );
      await this.#ask({model, binary, module}, [model, binary, module]);
    } catch (cause) {
      this.#stop();
      throw new PageError('no_model', {cause: cause.message});
    } finally {
      URL.revokeObjectURL(address);
    }
  }

  // Answers an image, one after the other; an image that is no longer wanted is passed over, and the answer is null.
  answer(image, isWanted) {
    const isLarge = image.pixels.length > MAX_KEPT_BYTES;
    const turn = this.#queue.then(() => (isWanted() ? this.#answerNow(image) : null));
    this.#queue = turn.then(() => isLarge && this.#restart()).catch(() => {}); // what failed was told, or the next one tells
    return turn;
  }

  #stop() {
    this.#worker?.terminate();
    this.#worker = undefined;
  }

  #restart() {
    this.#stop();
    return this.start();
  }

  async #answerNow(image) {
    if (!this.#worker) await this.start();
    try {
      return await this.#ask(image, [image.pixels.buffer]);
    } catch (cause) {
      // Where memory has run out nothing works any more: the next image gets a new thread.
      this.#stop();
      throw new PageError('no_answer', {cause: cause.message});
    }
  }

  #ask(message, moved) {
    const worker = this.#worker;
    return new Promise((resolve, reject) => {
      worker.onmessage = ({data}) => ('problem' in data ? reject(new Error(data.problem)) : resolve(data.result));
      worker.onerror = (event) => reject(new Error(event.message || 'the script of the model failed'));
      worker.postMessage(message, moved);
    });
  }
}
