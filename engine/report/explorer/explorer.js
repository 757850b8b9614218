// The label explorer: everything that moves. Reads the JSON beside it, keeps (image, epoch, pinned
// epoch) as its only state, and mirrors it in the address: #image=ID&epoch=K&pin=K.
// Text from the data goes in by textContent alone.
(function () {
  "use strict";
  const root = document.currentScript.closest(".label-explorer");
  const find = (selector) => root.querySelector(selector);

  function start() {
    const data = JSON.parse(find(".le-data").textContent);
    const records = twoByteNumbers(data.records);
    const means = bytes(data.means);
    const diagonal = twoByteNumbers(data.diagonal);
    const numEpochs = data.epochs.length;
    const size = data.order.length;
    const rowOfClass = new Map(data.order.map((label, row) => [label, row]));
    const buttons = [...root.querySelectorAll(".le-images button")];
    const charts = [...root.querySelectorAll("svg[data-curve]")].map(chart);
    const matrix = find(".le-cells canvas");
    const slider = find(".le-slider");
    const state = { image: 0, epoch: numEpochs - 1, pinned: null, cell: null, timer: null };
    let palette = [];

    function record(image, epoch) {
      const width = 2 * data.top + 3;
      const from = (epoch * data.images.length + image) * width;
      const rest = from + 2 * data.top;
      const classes = [...records.subarray(from, from + data.top)];
      return {
        top: classes.map((label, i) => ({ label, share: records[from + data.top + i] / 65535 })),
        share: records[rest] / 65535,
        rank: records[rest + 1],
        entropy: (records[rest + 2] / 65535) * data.max_entropy,
      };
    }

    function mean(row, column, epoch) {
      if (row === column) return diagonal[epoch * size + row] / 65535;
      return data.scale * (means[(epoch * size + row) * size + column] / 255) ** 2;
    }

    // ---- what is shown -------------------------------------------------------------------------

    function show() {
      const now = record(state.image, state.epoch);
      const label = data.labels[state.image];
      const number = data.epochs[state.epoch];
      slider.value = state.epoch;
      slider.setAttribute("aria-valuetext", `epoch ${number}`);
      find(".le-epoch").textContent = number;
      find(".le-expert").textContent = expertInWords(state.epoch);
      buttons.forEach((button, i) => {
        button.setAttribute("aria-pressed", String(i === state.image));
        button.tabIndex = i === state.image ? 0 : -1;
      });
      showPicture(label);
      find(".le-facts").textContent =
        `entropy ${now.entropy.toFixed(2)} nats (at most ${data.max_entropy.toFixed(2)})\n` +
        `true class ${percent(now.share)}, rank ${now.rank} of ${data.classes.length}`;
      find(".le-now-title").textContent = `Epoch ${number}, ${now.entropy.toFixed(2)} nats`;
      showTop(find(".le-now"), now.top, label);
      showPinned(label);
      charts.forEach((each) => each.show());
      drawMatrix();
      showCell();
    }

    function showPicture(label) {
      const source = buttons[state.image].querySelector("img");
      const picture = find(".le-picture");
      if (picture.src !== source.src) picture.src = source.src;
      picture.className = `le-picture ${source.className}`;
      picture.alt = source.alt;
      const kin = data.superclasses ? ` (${data.superclasses[label]})` : "";
      find(".le-true").textContent =
        `${data.classes[label]}${kin}, sample ${data.images[state.image]}`;
    }

    function showTop(list, top, label) {
      list.replaceChildren(
        ...top.map((each) => {
          const item = document.createElement("li");
          const name = document.createElement("span");
          const share = document.createElement("span");
          name.textContent = data.classes[each.label] + (each.label === label ? " ✓" : "");
          name.title = data.classes[each.label];
          share.textContent = percent(each.share);
          item.style.setProperty("--le-share", each.share);
          item.classList.toggle("le-is-true", each.label === label);
          item.append(name, share);
          return item;
        }),
      );
    }

    function showPinned(label) {
      const pin = find(".le-pin");
      const isPinned = state.pinned !== null;
      pin.setAttribute("aria-pressed", String(isPinned));
      pin.textContent = isPinned ? `Unpin epoch ${data.epochs[state.pinned]}` : "Pin this epoch";
      find(".le-pinned-part").hidden = !isPinned;
      if (!isPinned) return;
      const then = record(state.image, state.pinned);
      find(".le-pinned-title").textContent =
        `Pinned: epoch ${data.epochs[state.pinned]}, ${then.entropy.toFixed(2)} nats`;
      showTop(find(".le-pinned"), then.top, label);
    }

    function expertInWords(epoch) {
      const accuracy = data.accuracy[epoch];
      const parts = accuracy === null ? [] : [`expert’s test accuracy ${percent(accuracy)}`];
      return [...parts, `mean entropy of its labels ${data.entropy[epoch].toFixed(2)} nats`].join(
        ", ",
      );
    }

    // ---- the charts ----------------------------------------------------------------------------

    function chart(svg) {
      const x = svg.dataset.x.split(" ").map(Number);
      const [most, top, bottom] = ["most", "top", "bottom"].map((key) => Number(svg.dataset[key]));
      const pinned = shape(svg, "line", "le-mark-pinned");
      const mark = shape(svg, "line", "le-mark");
      const line = shape(svg, "polyline", "le-own");
      const dot = shape(svg, "circle", "le-own", { r: 4 });
      const height = (value) => bottom - (bottom - top) * Math.min(value / most, 1);
      svg.addEventListener("click", (event) => {
        const box = svg.getBoundingClientRect();
        const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
        move({ epoch: nearest(x, at) });
      });
      return {
        show() {
          const values = data.epochs.map((_, i) => record(state.image, i)[svg.dataset.curve]);
          const points = values.map((value, i) => `${x[i]},${height(value).toFixed(1)}`);
          set(line, { points: points.join(" ") });
          set(dot, { cx: x[state.epoch], cy: height(values[state.epoch]) });
          set(mark, { x1: x[state.epoch], x2: x[state.epoch], y1: top, y2: bottom });
          const at = state.pinned === null ? -9 : x[state.pinned];
          set(pinned, { x1: at, x2: at, y1: top, y2: bottom });
        },
      };
    }

    // ---- the matrix ----------------------------------------------------------------------------

    // A shade for every code of a byte. The page's colours may change with the reader's settings,
    // so they are read from its style each time.
    function readPalette() {
      const stops = [...root.querySelectorAll(".le-ramp i")].map((each) =>
        getComputedStyle(each).backgroundColor.match(/[\d.]+/g).slice(0, 3).map(Number),
      );
      const own = stops.pop();
      palette = Array.from({ length: 256 }, (_, code) => {
        // A code is the root of a share; drawn so, rare confusions would look like frequent ones.
        const place = (code / 255) ** 1.5 * (stops.length - 1);
        const low = Math.min(Math.floor(place), stops.length - 2);
        return stops[low].map((from, i) => from + (stops[low + 1][i] - from) * (place - low));
      });
      palette.push(own);
      paint(find(".le-scale"), 256, 1, (i) => Math.round(255 * Math.sqrt(i / 255)));
      find(".le-scale-end").textContent = percent(data.scale);
    }

    function drawMatrix() {
      const from = state.epoch * size * size;
      paint(matrix, size, size, (i) => (Math.floor(i / size) === i % size ? 256 : means[from + i]));
      const row = rowOfClass.get(data.labels[state.image]);
      place(find(".le-own-row"), row, null);
    }

    function paint(canvas, width, height, codeOf) {
      const context = canvas.getContext("2d");
      const pixels = context.createImageData(width, height);
      for (let i = 0; i < width * height; i += 1) {
        pixels.data.set([...palette[codeOf(i)], 255], 4 * i);
      }
      context.putImageData(pixels, 0, 0);
    }

    function place(box, row, column) {
      box.hidden = row === undefined;
      box.style.top = `${(100 * row) / size}%`;
      box.style.height = `${100 / size}%`;
      if (column === null) return;
      box.style.left = `${(100 * column) / size}%`;
      box.style.width = `${100 / size}%`;
    }

    function showCell() {
      const readout = find(".le-readout");
      find(".le-cursor").hidden = state.cell === null;
      if (state.cell === null) {
        readout.textContent = "Point at a cell to read it; the framed row is the image’s class.";
        return;
      }
      const { row, column } = state.cell;
      place(find(".le-cursor"), row, column);
      const [of, to] = [row, column].map((position) => data.classes[data.order[position]]);
      const what = row === column ? `${of}, its own class` : `${of} → ${to}`;
      const then =
        state.pinned === null
          ? ""
          : `, ${percent(mean(row, column, state.pinned))} at epoch ${data.epochs[state.pinned]}`;
      const now = percent(mean(row, column, state.epoch));
      readout.textContent = `${what}: ${now} at epoch ${data.epochs[state.epoch]}${then}`;
    }

    function cellUnder(event) {
      const box = matrix.getBoundingClientRect();
      const [column, row] = [
        (event.clientX - box.left) / box.width,
        (event.clientY - box.top) / box.height,
      ].map((share) => Math.min(Math.max(Math.floor(share * size), 0), size - 1));
      return { row, column };
    }

    // ---- moving --------------------------------------------------------------------------------

    function move(change) {
      Object.assign(state, change);
      show();
      const pin = state.pinned === null ? "" : `&pin=${data.epochs[state.pinned]}`;
      const hash = `#image=${data.images[state.image]}&epoch=${data.epochs[state.epoch]}${pin}`;
      try {
        history.replaceState(null, "", hash);
      } catch (error) {
        // A page inside a frame may not write its address; only the link to share is lost.
      }
    }

    function readHash() {
      const asked = new URLSearchParams(location.hash.slice(1));
      const image = data.images.indexOf(Number(asked.get("image") ?? NaN));
      if (image >= 0) state.image = image;
      if (asked.has("epoch")) state.epoch = nearest(data.epochs, Number(asked.get("epoch")));
      if (asked.has("pin")) state.pinned = nearest(data.epochs, Number(asked.get("pin")));
      return asked.has("image") || asked.has("epoch");
    }

    function play(on) {
      clearInterval(state.timer);
      state.timer = null;
      if (on) {
        if (state.epoch === numEpochs - 1) move({ epoch: 0 });
        state.timer = setInterval(() => {
          move({ epoch: Math.min(state.epoch + 1, numEpochs - 1) });
          if (state.epoch === numEpochs - 1) play(false);
        }, numEpochs > 15 ? 250 : 700);
      }
      const button = find(".le-play");
      button.textContent = state.timer === null ? "▶" : "❚❚";
      button.setAttribute("aria-label", state.timer === null ? "Play the epochs" : "Pause");
    }

    slider.addEventListener("input", () => {
      play(false);
      move({ epoch: Number(slider.value) });
    });
    find(".le-play").addEventListener("click", () => play(state.timer === null));
    find(".le-pin").addEventListener("click", () =>
      move({ pinned: state.pinned === null ? state.epoch : null }),
    );
    buttons.forEach((button, i) => button.addEventListener("click", () => move({ image: i })));
    find(".le-images").addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const image = (state.image + step + buttons.length) % buttons.length;
      move({ image });
      buttons[image].focus();
    });
    for (const kind of ["pointermove", "pointerdown"]) {
      matrix.addEventListener(kind, (event) => {
        state.cell = cellUnder(event);
        showCell();
      });
    }
    matrix.addEventListener("pointerleave", () => {
      state.cell = null;
      showCell();
    });
    matrix.addEventListener("click", (event) => {
      const image = data.labels.indexOf(data.order[cellUnder(event).row]);
      if (image >= 0) move({ image });
    });
    matrix.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      const step = steps[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const from = state.cell ?? { row: 0, column: 0 };
      const [row, column] = [from.row + step[0], from.column + step[1]].map((position) =>
        Math.min(Math.max(position, 0), size - 1),
      );
      state.cell = { row, column };
      showCell();
    });
    const recolour = () => {
      readPalette();
      drawMatrix();
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
    window.addEventListener("hashchange", () => {
      if (readHash()) show();
    });

    slider.disabled = numEpochs === 1;
    find(".le-play").hidden = numEpochs === 1;
    root.dataset.ready = "";
    const isLinked = readHash();
    readPalette();
    play(false);
    show();
    if (isLinked) root.scrollIntoView();
  }

  function nearest(numbers, wanted) {
    const distance = (i) => Math.abs(numbers[i] - wanted);
    return numbers.reduce((best, _, i) => (distance(i) < distance(best) ? i : best), 0);
  }

  function bytes(text) {
    return Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  }

  function twoByteNumbers(text) {
    const all = new DataView(bytes(text).buffer);
    return Uint16Array.from({ length: all.byteLength / 2 }, (_, i) => all.getUint16(2 * i, true));
  }

  function percent(share) {
    if (share > 0 && share < 0.00005) return "< 0.01 %";
    return `${(100 * share).toFixed(share < 0.01 ? 2 : 1)} %`;
  }

  function shape(parent, kind, name, attributes = {}) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
    made.setAttribute("class", name);
    set(made, attributes);
    return parent.appendChild(made);
  }

  function set(element, attributes) {
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  }

  try {
    start();
  } catch (error) {
    const note = find(".le-failure");
    note.hidden = false;
    note.textContent = `The explorer can’t run in this browser: ${error}`;
    throw error;
  }
})();
