# Writes OUT, a header with what SOURCE is a checkout of; "unknown" where it is none, as from an archive.
cmake_minimum_required(VERSION 3.22)
set(commit "unknown")
execute_process(COMMAND git -C ${SOURCE} rev-parse --show-toplevel
  OUTPUT_VARIABLE root OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE code)
file(REAL_PATH ${SOURCE} here)
if(code EQUAL 0 AND root STREQUAL here) # an archive unpacked inside another repository is not that repository
  execute_process(COMMAND git -C ${SOURCE} describe --tags --always --dirty --abbrev=12
    OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE code)
  if(code EQUAL 0)
    set(commit ${described})
  endif()
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define OTPLAN_COMMIT \"@commit@\"\n" @ONLY)
