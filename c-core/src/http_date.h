/* Dates of HTTP. Pure logic, no memory. */
#ifndef NT_HTTP_DATE_H
#define NT_HTTP_DATE_H

#include <stdint.h>

/* RFC 9110 5.6.7, all three forms, in any case: Unix s, or -1. What lies before
 * 1970 is 0. `now`, in Unix ms, says which century two digits mean. */
int64_t nt__http_date(const char* text, int64_t now);

/* Days since 1970; months and days count from 1. */
int64_t nt__calendar_days(int year, int month, int day);

#endif
