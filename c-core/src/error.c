/* Names, texts and kinds of the error codes, from the one list in nettask.h. */
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

int nt_error_is_refusal(int error) {
  switch (error) {
    case NT_E_LIMIT:
    case NT_E_URL_TOO_LONG:
    case NT_E_SCHEME:
    case NT_E_PORT:
    case NT_E_BODY_SIZE:
    case NT_E_DOMAIN:
    case NT_E_PRIVATE:
    case NT_E_SECRET:
    case NT_E_QUOTA:
    case NT_E_OWN_PROXY:
    case NT_E_PIN:
    case NT_E_WS_SIZE:
    case NT_E_OUTSIDE:
    case NT_E_FILE_SIZE:
    case NT_E_TEMP_SIZE:
      return 1;
    default:
      return 0;
  }
}
