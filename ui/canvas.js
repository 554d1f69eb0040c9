// props.settings: model, method, language, and texts. server.glance: what the model makes of the drawing so far.
const canvas = element.querySelector('canvas'), context = canvas.getContext('2d');
const undo = element.querySelector('.undo'), clear = element.querySelector('.clear');
const width = element.querySelector('input'), glance = element.querySelector('.glance');
let strokes = [];    // each with its width and points
let pointer = null;  // the one that draws; a palm beside the pen does not
let asking = false, changed = false;

const draw = () => {
  context.fillStyle = 'white';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.lineCap = context.lineJoin = 'round';
  for (const stroke of strokes) {
    context.lineWidth = stroke.width;
    context.beginPath();
    context.moveTo(...stroke.points[0]);
    for (const point of stroke.points) context.lineTo(...point);
    context.stroke();
  }
  undo.disabled = strokes.length === 0;
};

// One question at a time; what was drawn meanwhile is in the next one.
const look = async () => {
  changed = true;
  if (asking) return;
  asking = true;
  while (changed && strokes.length) {
    changed = false;
    const { model, language } = props.settings;
    const answer = await server.glance({ picture: canvas.toDataURL(), model, language }).catch(() => undefined);
    if (answer === undefined) {
      glance.textContent = props.settings.texts.lost;
      break;
    }
    // Half a 7 is a bar, and no digit: what was seen before stays until the pen is lifted.
    if (answer || pointer === null) glance.innerHTML = strokes.length ? answer : '';
  }
  asking = false;
};

const finish = () => {
  draw();
  props.value = strokes.length ? canvas.toDataURL() : '';
  trigger('input');
  if (strokes.length) look();
  else glance.innerHTML = '';
};

const add = (event) => {
  const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
  const missed = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const one of missed.length ? missed : [event]) {
    strokes.at(-1).points.push([(one.clientX - box.left) * scale, (one.clientY - box.top) * scale]);
  }
  draw();
  look();
};

canvas.addEventListener('pointerdown', (event) => {
  if (pointer !== null || event.button !== 0) return;
  pointer = event.pointerId;
  canvas.setPointerCapture(pointer);
  strokes.push({ width: Number(width.value), points: [] });
  add(event);
});
canvas.addEventListener('pointermove', (event) => { if (event.pointerId === pointer) add(event); });
for (const end of ['pointerup', 'pointercancel']) {
  canvas.addEventListener(end, (event) => {
    if (event.pointerId !== pointer) return;
    pointer = null;
    finish();
  });
}
// Not while another finger draws: its stroke would be gone.
undo.addEventListener('click', () => { if (pointer === null) { strokes.pop(); finish(); } });
clear.addEventListener('click', () => { if (pointer === null) { strokes = []; finish(); } });

const name = () => {
  const { texts } = props.settings;
  canvas.setAttribute('aria-label', texts.canvas);
  undo.textContent = texts.undo;
  clear.textContent = texts.clear;
  element.querySelector('label span').textContent = texts.pen_width;
  if (strokes.length) look();
};
watch(Object.keys(props), name);
name();
draw();
canvas.dataset.ready = '';  // shown from here on: a stroke before its listeners would be lost
