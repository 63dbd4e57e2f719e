# libotplan, shared and static, from the internal objects; how it is installed and found.
include(CMakePackageConfigHelpers)

# Both take from the internal archive what the public calls need: no training.
add_library(otplan_shared SHARED $<TARGET_OBJECTS:otplan_api>)
target_link_libraries(otplan_shared PRIVATE otplan_lib)
target_link_options(otplan_shared PRIVATE LINKER:--as-needed,--no-undefined,--disable-new-dtags)
set_target_properties(otplan_shared PROPERTIES OUTPUT_NAME otplan EXPORT_NAME otplan LINKER_LANGUAGE C
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} INSTALL_RPATH "$ORIGIN/otplan")

# One object in which everything but the public names is local: two libraries with
# an otp_log or an stb_image each can be linked into one program.
set(merged ${PROJECT_BINARY_DIR}/otplan-merged.o)
set(public ${PROJECT_BINARY_DIR}/otplan-public.o)
add_custom_command(OUTPUT ${public} BYPRODUCTS ${merged}
  COMMAND ${CMAKE_LINKER} -r -o ${merged} $<TARGET_OBJECTS:otplan_api> $<TARGET_FILE:otplan_lib>
  COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${merged} ${public}
  DEPENDS otplan_lib $<TARGET_OBJECTS:otplan_api> COMMAND_EXPAND_LISTS VERBATIM
  COMMENT "Merging libotplan.a's one object")
add_library(otplan_static STATIC ${public})
set_source_files_properties(${public} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
set_target_properties(otplan_static PROPERTIES OUTPUT_NAME otplan EXPORT_NAME static LINKER_LANGUAGE C)

# What a program links beside libotplan.a, as -l and -L: files' names say it on this machine alone.
function(otplan_link_flags out)
  set(flags)
  foreach(library ${ARGN})
    get_filename_component(folder ${library} DIRECTORY)
    get_filename_component(name ${library} NAME_WE)
    string(REGEX REPLACE "^lib" "" name ${name})
    if(folder AND NOT folder IN_LIST CMAKE_C_IMPLICIT_LINK_DIRECTORIES)
      list(APPEND flags -L${folder})
    endif()
    list(APPEND flags -l${name})
  endforeach()
  set(${out} ${flags} PARENT_SCOPE)
endfunction()
set(hdf5 ${HDF5_C_LIBRARIES})
list(FILTER hdf5 INCLUDE REGEX "hdf5") # what HDF5 itself was linked with, it brings along
otplan_link_flags(OTPLAN_PRIVATE_LIBRARIES ${DNNL_LIBRARY} ${hdf5} ${ZLIB_LIBRARIES}
  ${ZIP_LINK_LIBRARIES} ${XXHASH_LINK_LIBRARIES} ${PICTURES_LINK_LIBRARIES} ${GIF_LIBRARIES} ${OpenMP_C_LIBRARIES} pthread dl m)
list(REMOVE_DUPLICATES OTPLAN_PRIVATE_LIBRARIES)
list(JOIN OTPLAN_PRIVATE_LIBRARIES " " OTPLAN_PRIVATE_FLAGS)
target_link_libraries(otplan_static INTERFACE ${OTPLAN_PRIVATE_LIBRARIES})

# ---- installing --------------------------------------------------------------
install(TARGETS otplan_shared otplan_static EXPORT otplan
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/otplan DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(folder ${CMAKE_INSTALL_LIBDIR}/cmake/otplan)
install(EXPORT otplan NAMESPACE otplan:: FILE otplanTargets.cmake DESTINATION ${folder})
configure_package_config_file(cmake/otplanConfig.cmake.in ${PROJECT_BINARY_DIR}/otplanConfig.cmake
  INSTALL_DESTINATION ${folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/otplanConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/otplanConfig.cmake ${PROJECT_BINARY_DIR}/otplanConfigVersion.cmake
  DESTINATION ${folder})
file(RELATIVE_PATH OTPLAN_FROM_PC_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/otplan.pc.in ${PROJECT_BINARY_DIR}/otplan.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/otplan.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
