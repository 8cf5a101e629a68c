// The admin token: in memory, or until the tab is closed if the operator says so. Nowhere else.

const KEY = "mulberry-admin-token";

let token = null;

function stored() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export function current() {
  token ??= stored();
  return token;
}

export function begin(value, isKept) {
  token = value;
  try {
    if (isKept) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch {
    // The browser refuses storage: the token lasts as long as the page.
  }
}

export function end() {
  token = null;
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // It was not there either.
  }
}
