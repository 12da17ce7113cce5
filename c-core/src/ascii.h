/* Letters of ASCII, whatever the locale is: a script may change that. */
#ifndef NT_ASCII_H
#define NT_ASCII_H

static inline char nt__lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

#endif
