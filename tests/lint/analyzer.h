/*
 * analyzer.h - what an analyzer that reads one file at a time cannot see: that
 * the functions of error.h never return 0. Included first, by lint alone.
 */
#include "snapshot/format/error.h"

#define error_set(error, code, ...) (error_set(error, code, __VA_ARGS__), (int)(code))
#define error_errno(...)	    (error_errno(__VA_ARGS__), (int)ERROR_SYSTEM)
#define error_damage(...)	    (error_damage(__VA_ARGS__), (int)ERROR_DAMAGED)
