/* What every unit test includes: cmocka with the headers it needs first. */
#ifndef MP_TESTS_UNIT_H
#define MP_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#endif
