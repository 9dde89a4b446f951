# piramid: build and install with PGXS.  PG_CONFIG chooses the server:
#   make PG_CONFIG=/usr/lib/postgresql/17/bin/pg_config && make install
EXTENSION = piramid compat/piramid_move
MODULE_big = piramid
DATA = $(sort $(wildcard sql/piramid--*.sql)) compat/piramid_move--1.0.sql
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
PG_CPPFLAGS = -I$(CURDIR)/src
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
# Calls inside the library stay inside it, also when another extension with
# functions of the same names is loaded into the same backend.
SHLIB_LINK = -Wl,-Bsymbolic

REGRESS_OPTS = --inputdir=. --load-extension=piramid
REGRESS = $(patsubst sql/%.sql,%,$(filter-out sql/piramid--%,$(sort $(wildcard sql/*.sql))))
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --load-extension=piramid

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(sort $(wildcard src/*.h src/*/*.h))

# The extension "vector" that is piramid, for those who want it; see compat/.
vector_scripts = sql/piramid--0.1.0.sql sql/piramid--0.1.0--0.2.0.sql
extension_dir = $(DESTDIR)$(datadir)/extension
vector_library = $(DESTDIR)$(pkglibdir)/vector$(DLSUFFIX)

.PHONY: install-vector-compat uninstall-vector-compat
install-vector-compat:
	FORCE=$(FORCE) compat/install install '$(extension_dir)' '$(vector_library)' $(vector_scripts)
uninstall-vector-compat:
	compat/install uninstall '$(extension_dir)' '$(vector_library)'
