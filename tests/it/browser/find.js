// The one control (a link, a button) or field that is called `name`, as people find it: by what they see. With
// `near`, the one in the smallest row, list entry, form or section in which they also read that.
const [kind, name, near] = arguments;

const kinds = {control: 'a[href], button, summary, input[type=submit]', field: 'input, select, textarea'};
const read = (element) => squeezed(element.innerText) === name; // What is read aloud may say more.
const named = (element) => called(element) === name || read(element) || [...(element.labels || [])].some(read);
const wanted = all(kinds[kind], here()).filter(named);
const shown = wanted.filter((element) => seen(element) || [...(element.labels || [])].some(seen));
if (!near) return shown[0] ?? null;

const around = all('tr, li, fieldset, form, section, article, dialog, main')
  .filter((part) => squeezed(part.innerText).includes(near) || all('input', part).some(({value}) => value === near))
  .reverse(); // The innermost stand last in the document.
for (const part of around) {
  const found = shown.find((element) => part.contains(element));
  if (found) return found;
}
return null;
