/* Dates of HTTP. Pure logic, no memory. */
#ifndef NT_HTTP_DATE_H
#define NT_HTTP_DATE_H

#include <stdint.h>

enum {
  NT__HTTP_DATE_SIZE = sizeof("Sun, 06 Nov 1994 08:49:37 GMT")
};

/* RFC 9110 5.6.7, all three forms, in any case: Unix s, or -1. What lies before
 * 1970 is 0. `now`, in Unix ms, says which century two digits mean. */
int64_t nt__http_date(const char* text, int64_t now);
/* Unix s in the form that is sent today; what no such date can say becomes the
 * nearest one that can. */
void nt__http_date_write(int64_t seconds, char out[NT__HTTP_DATE_SIZE]);

/* Days since 1970; months and days count from 1. */
int64_t nt__calendar_days(int year, int month, int day);

#endif
