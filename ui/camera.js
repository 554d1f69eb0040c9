// props.settings: model, method, language, and texts. server.look: the answer to a picture, in HTML, for #live.
const shown = element.querySelector('canvas'), video = document.createElement('video');
const start = element.querySelector('.start'), hold = element.querySelector('.hold');
const maps = element.querySelector('input'), state = element.querySelector('.state');
const frame = document.createElement('canvas');  // the picture that is asked about
frame.width = shown.width;
frame.height = shown.height;
let stream = null;
let times = [];  // of the answers of the last second, in milliseconds

const grab = () => {
  const side = Math.min(video.videoWidth, video.videoHeight);
  const left = (video.videoWidth - side) / 2, top = (video.videoHeight - side) / 2;
  frame.getContext('2d').drawImage(video, left, top, side, side, 0, 0, frame.width, frame.height);
};

const ask = () => {
  const { model, method, language } = props.settings;
  const picture = frame.toDataURL('image/jpeg', 0.9);
  return server.look({ picture, model, method: maps.checked ? method : null, language });
};

const show = (answer) => {
  shown.getContext('2d').drawImage(frame, 0, 0);
  hold.disabled = false;
  document.querySelector('#live .answer').innerHTML = answer;
  shown.dataset.answered = Number(shown.dataset.answered || 0) + 1;
  const now = performance.now();
  times = [...times.filter((time) => now - time < 1000), now];
  state.textContent = `${times.length} ${props.settings.texts.rate}`;
};

const running = (is) => {
  document.querySelector('#answers').classList.toggle('live', is);
  hold.disabled = true;  // until there is a picture to hold
  name();
};

const stop = (text = '') => {
  if (stream) for (const track of stream.getTracks()) track.stop();
  stream = null;
  running(false);
  state.setAttribute('role', text ? 'alert' : 'none');
  state.textContent = text;
};

const run = async () => {
  let mine;
  start.disabled = true;  // a second click would ask for a second camera
  try {
    stream = mine = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
    video.srcObject = stream;
    await video.play();
  } catch {
    stop(props.settings.texts.no_camera);
    return;
  } finally {
    start.disabled = false;
  }
  running(true);
  while (stream === mine) {
    await new Promise(requestAnimationFrame);  // none comes while the browser shows another page
    if (element.offsetParent === null) return stop();  // another tab is open
    grab();
    try {
      const answer = await ask();
      if (stream !== mine) return;  // stopped meanwhile, perhaps started again
      if (answer === undefined) return stop(props.settings.texts.lost);
      show(answer);
    } catch {
      if (stream === mine) stop(props.settings.texts.lost);
      return;
    }
  }
};

const name = () => {
  const { texts } = props.settings;
  shown.setAttribute('aria-label', texts.the_frame);
  start.textContent = stream ? texts.stop : texts.start;
  hold.textContent = texts.hold;
  element.querySelector('label span').textContent = texts.live_maps;
};
video.muted = video.playsInline = true;
start.addEventListener('click', () => { if (stream) stop(); else run(); });
hold.addEventListener('click', () => {
  stop();
  props.value = shown.toDataURL('image/jpeg', 0.95);
  trigger('input');
});
watch(Object.keys(props), name);
name();
