# umbra_revision: a library with the version and the git revision, refreshed on every build.
set(_revision "${PROJECT_BINARY_DIR}/revision.cpp")
add_custom_target(umbra_revision_check
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUT=${_revision}
          -DVERSION=${PROJECT_VERSION} -P ${PROJECT_SOURCE_DIR}/cmake/write_revision.cmake
  BYPRODUCTS ${_revision})
add_library(umbra_revision STATIC ${_revision})
add_dependencies(umbra_revision umbra_revision_check)
