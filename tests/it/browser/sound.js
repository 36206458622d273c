// What is wrong with the page for those who cannot see it, or not well, or who use a keyboard: a list of
// sentences, empty for a sound page. The rules are those of WCAG 2.2 AA that a program can decide, and the best
// practices of landmarks and headings.
const wrong = [];
const tell = (element, what) => wrong.push(`${place(element)}: ${what}`);
const none = (selector, what) => all(selector).forEach((element) => tell(element, what));

// The document.
const root = document.documentElement;
if (!/^[a-z]{2,3}(-|$)/.test(root.lang)) tell(root, 'says no language');
if (!squeezed(document.title)) tell(root, 'has no title');
for (const [selector, what] of [['main', 'main part'], ['h1', 'first heading']]) {
  const found = all(selector).filter((element) => element.checkVisibility());
  if (found.length !== 1) tell(root, `has ${found.length} of what there is one of: the ${what}`);
}
const zoom = document.querySelector('meta[name=viewport]')?.content || '';
if (!zoom || /user-scalable\s*=\s*(no|0)|maximum-scale/.test(zoom)) tell(root, `viewport "${zoom}"`);
none('body meta[http-equiv=refresh], head > meta[http-equiv=refresh]', 'reloads though scripts run');
none('marquee, blink, [accesskey], [autofocus]', 'is in the way');

// Headings go one step down at a time.
let level = 0;
for (const heading of all('h1, h2, h3, h4, h5, h6').filter((element) => element.checkVisibility())) {
  const next = Number(heading.tagName[1]);
  if (next > level + 1) tell(heading, `follows a heading of level ${level}`);
  if (!squeezed(spoken(heading))) tell(heading, 'is empty');
  level = next;
}

// Landmarks: everything is in one, and two of a kind have names that differ.
const LANDMARK = 'main, nav, body > header, body > footer, aside, dialog, [role=status], [role=alert], [role=search]';
for (const part of document.body.children) {
  const skip = part.matches('a[href^="#"], script, noscript, template, style');
  if (!skip && part.checkVisibility() && squeezed(part.innerText) && !part.matches(LANDMARK) && !part.querySelector('main')) {
    tell(part, 'is in no landmark');
  }
}
for (const kind of ['nav', 'aside', ':is(section, form, [role=region]):is([aria-label], [aria-labelledby], [role=region])']) {
  const names = all(kind).map(called);
  all(kind).forEach((part, at) => {
    if (names.length > 1 && (!names[at] || names.indexOf(names[at]) !== at)) tell(part, 'has no name of its own');
  });
}

// Ids and references.
const ids = all('[id]').map((element) => element.id);
new Set(ids.filter((id, at) => ids.indexOf(id) !== at)).forEach((id) => wrong.push(`#${id} is there more than once`));
const REFERENCES = ['for', 'headers', 'list', 'form', 'aria-labelledby', 'aria-describedby', 'aria-controls', 'aria-owns', 'aria-errormessage'];
for (const attribute of REFERENCES) {
  for (const element of all(`[${attribute}]`)) {
    for (const id of element.getAttribute(attribute).split(/\s+/).filter(Boolean)) {
      if (!document.getElementById(id)) tell(element, `${attribute} names #${id}, which is not there`);
    }
  }
}
for (const link of all('a[href^="#"]')) {
  const to = link.getAttribute('href').slice(1);
  if (to && !document.getElementById(to)) tell(link, `leads to #${to}, which is not there`);
}

// Roles and their attributes.
const ROLES = ['img', 'status', 'alert', 'alertdialog', 'dialog', 'region', 'group', 'list', 'listitem', 'search', 'note', 'none', 'presentation', 'table', 'log', 'tab', 'tablist', 'tabpanel', 'meter', 'progressbar', 'timer'];
const ARIA = {
  label: /\S/, labelledby: /\S/, describedby: /\S/, controls: /\S/, owns: /\S/, errormessage: /\S/, description: /\S/,
  hidden: /^(true|false)$/, live: /^(polite|assertive|off)$/, atomic: /^(true|false)$/, busy: /^(true|false)$/,
  current: /^(page|step|location|date|time|true|false)$/, expanded: /^(true|false)$/, invalid: /^(true|false|grammar|spelling)$/,
  pressed: /^(true|false|mixed)$/, checked: /^(true|false|mixed)$/, selected: /^(true|false)$/, disabled: /^(true|false)$/,
  required: /^(true|false)$/, modal: /^(true|false)$/, sort: /^(ascending|descending|none|other)$/, haspopup: /^(true|false|menu|dialog|listbox)$/,
  valuenow: /^-?[\d.]+$/, valuemin: /^-?[\d.]+$/, valuemax: /^-?[\d.]+$/, valuetext: /\S/, level: /^[1-6]$/,
  rowcount: /^-?\d+$/, colcount: /^-?\d+$/, roledescription: /\S/, relevant: /\S/,
};
const NAMELESS = 'div, span, p, b, i, em, strong, small, code, td, dd, dt, bdi, time, caption, del, ins'; // May have no name of their own.
for (const element of all('*')) {
  const role = element.getAttribute('role');
  if (role !== null && !ROLES.includes(role)) tell(element, `role "${role}"`);
  for (const {name, value} of element.attributes) {
    if (name.startsWith('aria-') && !ARIA[name.slice(5)]?.test(value)) tell(element, `${name}="${value}"`);
  }
  if (!role && element.matches(NAMELESS) && element.matches('[aria-label], [aria-labelledby]')) tell(element, 'has a name that nobody reads: it has no role');
}
for (const hidden of all('[aria-hidden=true]')) {
  if (hidden.matches(USABLE) || hidden.querySelector(USABLE)) tell(hidden, 'is hidden from some and used by others');
}

// Controls, fields and images have names.
for (const element of all(USABLE).filter((element) => element.checkVisibility())) {
  if (!called(element) && !element.matches('main, [tabindex="-1"]')) tell(element, 'is used and has no name');
  if (element.tabIndex > 0) tell(element, 'jumps the order of the focus');
  const nested = element.matches('a, button, summary') && element.querySelector('a[href], button, input, select, textarea');
  if (nested) tell(element, 'is a control with another in it');
}
for (const field of all('input:not([type=hidden], [type=submit], [type=button]), select, textarea')) {
  if (!field.labels?.length && !field.matches('[aria-label], [aria-labelledby]')) tell(field, 'has no label');
  if (field.type === 'password' && !field.autocomplete) tell(field, 'does not say which password it wants');
}
for (const group of all('fieldset')) if (!squeezed(group.querySelector(':scope > legend')?.innerText)) tell(group, 'has no legend');
none('img:not([alt])', 'has no words for those who do not see it');
none('iframe:not([title]), object, embed', 'is a foreign body');
for (const picture of all('svg').filter((element) => element.checkVisibility() && !element.closest('[aria-hidden=true]'))) {
  if (picture.parentElement.closest('svg')) continue;
  if (picture.getAttribute('role') !== 'img' || !called(picture) && !picture.querySelector(':scope > title')) tell(picture, 'is a picture without words');
}

// Tables and lists.
for (const table of all('table')) {
  if (!squeezed(spoken(table.caption ?? document.createElement('p')))) tell(table, 'has no caption');
  if (!table.querySelector('th')) tell(table, 'has no headings');
  all('th', table).filter((head) => !['col', 'row', 'colgroup', 'rowgroup'].includes(head.scope)).forEach((head) => tell(head, 'has no scope'));
  all('th', table).filter((head) => !squeezed(spoken(head))).forEach((head) => tell(head, 'is an empty heading'));
  const widths = [...table.rows].map((row) => [...row.cells].reduce((sum, cell) => sum + cell.colSpan, 0));
  const spans = table.querySelector('[rowspan]');
  if (!spans && new Set(widths).size > 1) tell(table, `has rows of ${[...new Set(widths)].join(' and ')} cells`);
}
none(':is(ul, ol) > :not(li, script, template)', 'is in a list and no entry');
none('li:not(:is(ul, ol, menu) > li)', 'is an entry of no list');
none('dl > :not(dt, dd, div)', 'is in a list of terms and none');
none(':is(dt, dd):not(dl > *, dl > div > *)', 'is a term of no list');

// Colours. A canvas knows all ways of writing one.
const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
paint.canvas.width = paint.canvas.height = 1;
function rgba(colour) {
  paint.clearRect(0, 0, 1, 1);
  paint.fillStyle = colour;
  paint.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}
const over = ([r, g, b, a], [r2, g2, b2]) => [r * a + r2 * (1 - a), g * a + g2 * (1 - a), b * a + b2 * (1 - a), 1];
function lightness([r, g, b]) {
  const part = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
}
function contrast(one, other) {
  const [dark, light] = [lightness(one), lightness(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}
/** What is seen behind the contents of `element`: all backgrounds down to the canvas of the page. */
function behind(element) {
  const stack = [];
  for (let at = element; at; at = at.parentElement) {
    const style = getComputedStyle(at);
    if (style.backgroundImage !== 'none' && at !== element) tell(at, 'has a picture behind text: its contrast is unknown');
    const colour = rgba(style.backgroundColor);
    colour[3] *= at.style.opacity || 1;
    stack.push(colour);
    if (colour[3] === 1) break;
  }
  const canvas = rgba('Canvas'); // In the page's own colour scheme.
  return stack.reverse().reduce((under, colour) => over(colour, under), canvas);
}
const faded = (element) => { // How much of it is drawn at all.
  let opacity = 1;
  for (let at = element; at; at = at.parentElement) opacity *= getComputedStyle(at).opacity;
  return opacity;
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const told = new Set();
for (let text = walker.nextNode(); text; text = walker.nextNode()) {
  const element = text.parentElement;
  if (!squeezed(text.data) || told.has(element) || !element.checkVisibility() || element.closest('option, :disabled, [aria-disabled=true], title, desc')) continue;
  told.add(element);
  const style = getComputedStyle(element);
  const colour = rgba(element.closest('svg') ? style.fill : style.color);
  const ground = behind(element);
  colour[3] *= faded(element);
  const ratio = contrast(over(colour, ground), ground);
  const size = parseFloat(style.fontSize);
  const least = size >= 24 || size >= 18.66 && style.fontWeight >= 700 ? 3 : 4.5;
  if (ratio < least) tell(element, `contrast of ${ratio.toFixed(2)}, at least ${least}`);
  if (size < 10 && seen(element)) tell(element, `letters of ${size} px`);
}
for (const field of all('input:not([type=hidden], [type=checkbox], [type=radio], [type=submit]), select, textarea').filter(seen)) {
  const style = getComputedStyle(field);
  const [own, around] = [behind(field), behind(field.parentElement)];
  const line = parseFloat(style.borderBottomWidth) > 0 ? contrast(over(rgba(style.borderBottomColor), around), around) : 1;
  if (Math.max(line, contrast(own, around)) < 3) tell(field, `an edge of contrast ${line.toFixed(2)}, at least 3`);
}
for (const link of all('a[href]').filter(seen)) {
  const inText = [...link.parentNode.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && /\w/.test(node.data));
  const marked = getComputedStyle(link).textDecorationLine.includes('underline') || parseFloat(getComputedStyle(link).borderBottomWidth) > 0;
  if (inText && !marked && !link.querySelector('svg, img')) tell(link, 'is told from the text around it by its colour only');
}

// Targets: 24 px wide and high, or so far apart that a circle of that size meets no other; links in text excepted.
const TARGET_PX = 24;
const targets = all('a[href], button, input:not([type=hidden]), select, textarea, summary', here()).filter(seen).filter((element) => {
  const inText = element.matches('a') && [...element.parentNode.childNodes].some((node) => node !== element && squeezed(node.textContent));
  return !(inText && getComputedStyle(element).display === 'inline');
}).map((element) => ({element, box: (element.labels?.[0] && element.matches('[type=checkbox], [type=radio]') ? element.labels[0] : element).getBoundingClientRect()}));
for (const {element, box} of targets) {
  if (box.width >= TARGET_PX && box.height >= TARGET_PX) continue;
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const near = targets.find(({element: other, box: its}) => {
    if (other === element || other.contains(element) || element.contains(other)) return false;
    const [dx, dy] = [Math.max(its.left - x, 0, x - its.right), Math.max(its.top - y, 0, y - its.bottom)];
    return Math.hypot(dx, dy) < TARGET_PX / 2;
  });
  if (near) tell(element, `a target of ${box.width.toFixed()} x ${box.height.toFixed()} px, too close to ${place(near.element)}`);
}

return [...new Set(wrong)];
