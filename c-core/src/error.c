/* Names and texts of the error codes, from the one list in nettask.h. */
#include <stddef.h>

#include "nettask.h"

const char* nt_error_name(int error) {
  switch (error) {
    case NT_OK:
      return "OK";
#define XX(name, value, text)                                                  \
  case NT_E_##name:                                                            \
    return #name;
      NT_ERROR_MAP(XX)
#undef XX
    default:
      return "UNKNOWN";
  }
}

const char* nt_error_message(int error) {
  switch (error) {
    case NT_OK:
      return "";
#define XX(name, value, text)                                                  \
  case NT_E_##name:                                                            \
    return text;
      NT_ERROR_MAP(XX)
#undef XX
    default:
      return "unknown error";
  }
}
