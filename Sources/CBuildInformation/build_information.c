#include "CBuildInformation.h"

const char *moe_source_commit(void) { return MOE_SOURCE_COMMIT; }
