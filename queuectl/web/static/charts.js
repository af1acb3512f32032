// Draws what stands in a table as lines or bars over time. The table is what counts: it is there
// without this, and for whoever does not see pictures.

const HEIGHT = 190;
const HALF_MINUTE = 30;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
// What a person counts times in, where tens of milliseconds would give 1.7 min.
const STEPS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((number) => number * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((number) => number * MINUTE),
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].map((number) => number * HOUR),
];
const drawn = new WeakMap();
const watched = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const chart = drawn.get(target);
    if (chart && target.clientWidth) chart.setSize({ width: target.clientWidth, height: HEIGHT });
  }
});

export function charts() {
  for (const place of document.querySelectorAll("[data-chart]")) draw(place);
}

export function redraw() {
  for (const place of document.querySelectorAll("[data-chart]")) {
    drawn.get(place)?.destroy();
    drawn.delete(place);
    draw(place);
  }
}

function draw(place) {
  const table = document.getElementById(place.dataset.chart);
  if (!table || !window.uPlot || !place.clientWidth) return;
  const isTime = place.dataset.unit === "ms";
  const { times, columns } = read(table);
  // Bars stand on each other: the first to be drawn is the sum, and stands behind.
  const values = isTime ? columns : stacked(columns);
  const data = [times, ...values];
  const chart = drawn.get(place);
  if (chart) {
    chart.setData(data);
    return;
  }
  const colours = [...table.querySelectorAll("th[data-colour]")].map((one) => own(one));
  const series = (isTime ? colours : [...colours].reverse()).map((colour) =>
    isTime ? line(colour) : bars(colour),
  );
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    padding: [8, 18, 0, 0],
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    // The first and the last bar are as wide as the others.
    scales: { x: { range: (chart, first, last) => [first - HALF_MINUTE, last + HALF_MINUTE] }, y: { range: (chart, low, high) => [0, Math.max(high * 1.08, isTime ? 10 : 4)] } },
    series: [{}, ...series],
    axes: [axis({ space: 60, size: 28, values: (chart, ticks) => ticks.map(clock) }), axis({ size: 56, ...(isTime && { incrs: STEPS }), values: (chart, ticks) => ticks.map(isTime ? duration : count) })],
  };
  drawn.set(place, new uPlot(options, data, place));
  watched.observe(place);
}

function read(table) {
  const times = [];
  const columns = [...table.querySelectorAll("th[data-colour]")].map(() => []);
  for (const row of table.tBodies[0].rows) {
    times.push(Date.parse(row.querySelector("time").dateTime.slice(0, 23) + "Z") / 1000);
    [...row.querySelectorAll("td")].forEach((cell, index) => {
      columns[index].push(cell.dataset.value === "" ? null : Number(cell.dataset.value));
    });
  }
  return { times, columns };
}

function stacked([first, second]) {
  return [first.map((value, index) => value + second[index]), first];
}

function own(header) {
  const probe = document.createElement("i");
  probe.className = header.dataset.colour;
  document.body.append(probe);
  const colour = getComputedStyle(probe).getPropertyValue("--own").trim();
  probe.remove();
  return colour;
}

function line(colour) {
  return { stroke: colour, width: 1.5, points: { show: true, size: 4, fill: colour, stroke: colour } };
}

function bars(colour) {
  return { fill: colour, stroke: colour, width: 0, paths: uPlot.paths.bars({ size: [0.8, 24] }), points: { show: false } };
}

function axis(more) {
  const style = getComputedStyle(document.documentElement);
  const line = { stroke: style.getPropertyValue("--line").trim(), width: 1 };
  return { stroke: style.getPropertyValue("--quiet").trim(), grid: line, ticks: { ...line, size: 4 }, font: "12px system-ui, sans-serif", ...more };
}

function clock(seconds) {
  return new Date(seconds * 1000).toISOString().slice(11, 16);
}

function count(value) {
  return value === null ? "" : Number.isInteger(value) ? value.toLocaleString("en") : "";
}

function duration(ms) {
  if (ms === null) return "";
  if (ms >= HOUR) return `${+(ms / HOUR).toFixed(1)} h`;
  if (ms >= MINUTE) return `${+(ms / MINUTE).toFixed(1)} min`;
  return ms >= SECOND ? `${+(ms / SECOND).toFixed(1)} s` : `${ms} ms`;
}
