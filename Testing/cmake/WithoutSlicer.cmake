# What DeepRegister/CMakeLists.txt needs of Slicer's build system, where there is no Slicer: the same two macros by
# name and arguments, which copy file by file as Slicer's do, and are stricter about what is listed.

find_package(Python3 3.11 REQUIRED COMPONENTS Interpreter)

# Slicer's own layout, so that paths in the built module are the ones it will have there.
set(DeepRegister_BUILT_MODULE_DIR ${CMAKE_BINARY_DIR}/lib/Slicer/qt-scripted-modules)
set(DeepRegister_CMAKE_TESTING_DIR ${CMAKE_CURRENT_LIST_DIR})

# slicerMacroBuildScriptedModule(NAME name SCRIPTS files RESOURCES files [WITH_GENERIC_TESTS])
#
# Stops the configuration when a listed file is missing or is a folder (Slicer copies a folder empty), when a file is
# listed twice, or when a file beside or below the module is listed nowhere (Slicer would leave it out of the package).
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MODULE "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MODULE_UNPARSED_ARGUMENTS OR NOT MODULE_NAME OR NOT MODULE_SCRIPTS)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: NAME and SCRIPTS are needed; not understood: "
      "'${MODULE_UNPARSED_ARGUMENTS}'")
  endif()

  set(listed ${MODULE_SCRIPTS} ${MODULE_RESOURCES})
  set(unique ${listed})
  list(REMOVE_DUPLICATES unique)
  if(NOT "${unique}" STREQUAL "${listed}")
    message(FATAL_ERROR "DeepRegister/CMakeLists.txt lists a file twice in: ${listed}")
  endif()

  set(missing)
  foreach(file IN LISTS listed)
    set(source ${CMAKE_CURRENT_SOURCE_DIR}/${file})
    if(NOT EXISTS ${source} OR IS_DIRECTORY ${source})
      list(APPEND missing ${file})
    endif()
  endforeach()
  if(missing)
    list(JOIN missing "\n  " missing)
    message(FATAL_ERROR "Listed in DeepRegister/CMakeLists.txt, but not a file:\n  ${missing}")
  endif()

  foreach(file IN LISTS MODULE_SCRIPTS)
    if(NOT file MATCHES "\\.py$")
      message(FATAL_ERROR "DeepRegister/CMakeLists.txt lists ${file} under SCRIPTS: it belongs under RESOURCES")
    endif()
  endforeach()

  file(GLOB_RECURSE unlisted CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/*)
  list(FILTER unlisted EXCLUDE REGEX "(^|/)(__pycache__/|\\.|[^/]*\\.egg-info/|CMakeLists\\.txt$)")
  list(REMOVE_ITEM unlisted ${listed})
  if(unlisted)
    list(JOIN unlisted "\n  " unlisted)
    message(FATAL_ERROR "Not listed in DeepRegister/CMakeLists.txt, so missing in the installed extension:\n"
      "  ${unlisted}")
  endif()

  set(copies)
  foreach(file IN LISTS listed)
    set(copy ${DeepRegister_BUILT_MODULE_DIR}/${file})
    add_custom_command(
      OUTPUT ${copy}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file}
      COMMAND ${CMAKE_COMMAND} -E copy ${CMAKE_CURRENT_SOURCE_DIR}/${file} ${copy}
      )
    list(APPEND copies ${copy})
  endforeach()
  add_custom_target(${MODULE_NAME} ALL DEPENDS ${copies})
endfunction()

# slicer_add_python_unittest(SCRIPT file): loads the copied module instead of running its test, which needs Slicer.
function(slicer_add_python_unittest)
  cmake_parse_arguments(TEST "" "SCRIPT" "" ${ARGN})
  get_filename_component(name ${TEST_SCRIPT} NAME_WE)
  foreach(part engine module)
    add_test(
      NAME py_${name}_${part}
      COMMAND ${Python3_EXECUTABLE} -B ${DeepRegister_CMAKE_TESTING_DIR}/load_built_module.py
        ${part} ${DeepRegister_BUILT_MODULE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}
      )
    # A machine without slicer-core or PySide6 can still build; ctest then says that this test was skipped.
    set_tests_properties(py_${name}_${part} PROPERTIES SKIP_RETURN_CODE 77)
  endforeach()
endfunction()
