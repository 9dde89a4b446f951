# piramid: build and install with PGXS.  PG_CONFIG chooses the server:
#   make PG_CONFIG=/usr/lib/postgresql/17/bin/pg_config && make install
EXTENSION = piramid piramid_bm25 compat/piramid_move sql/collections/piramid_collections
MODULE_big = piramid
DATA = $(sort $(wildcard sql/piramid--*.sql sql/piramid_bm25--*.sql)) compat/piramid_move--1.0.sql
DATA_built = build/piramid_collections--0.3.0.sql
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
PG_CPPFLAGS = -I$(CURDIR)/src
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
# Calls inside the library stay inside it, also when another extension with
# functions of the same names is loaded into the same backend.
SHLIB_LINK = -Wl,-Bsymbolic

REGRESS_OPTS = --inputdir=. --load-extension=piramid
REGRESS = $(patsubst sql/%.sql,%,$(filter-out sql/piramid--% sql/piramid_bm25--%,$(sort $(wildcard sql/*.sql))))
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --load-extension=piramid

PG_CONFIG ?= pg_config

# Without a server to build for, say what is missing.
PG_MAJOR := $(shell $(PG_CONFIG) --version 2>/dev/null | sed -n 's/^PostgreSQL \([0-9]*\).*/\1/p')
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
PG_HEADER := $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)/postgres.h
how = make PG_CONFIG=/usr/lib/postgresql/NN/bin/pg_config, where NN is your server's version
ifeq ($(PG_MAJOR),)
$(error "$(PG_CONFIG)" is not the pg_config of a PostgreSQL server. Install postgresql-server-dev-NN \
	(Red Hat: postgresqlNN-devel), and name its pg_config: $(how))
endif
ifeq ($(filter $(PG_MAJOR),15 16 17 18),)
$(error "$(PG_CONFIG)" is of PostgreSQL $(PG_MAJOR), and piramid needs 15, 16, 17 or 18. Name another: $(how))
endif
ifeq ($(and $(wildcard $(PGXS)),$(wildcard $(PG_HEADER))),)
$(error "$(PG_CONFIG)" has no server headers. Install postgresql-server-dev-$(PG_MAJOR) \
	(Red Hat: postgresql$(PG_MAJOR)-devel), or name another: $(how))
endif
include $(PGXS)

# Scores are the same bits wherever they are computed.
$(patsubst %.c,%.o,$(wildcard src/bm25/*.c)): override CFLAGS += -ffp-contract=off
# Loops over the entries of key pages, of which compilers make vectors at this level only.
src/hnsw/key_filter.o: override CFLAGS += -O3

$(OBJS): $(sort $(wildcard src/*.h src/*/*.h))

# The script of the extension piramid_collections, from its parts.
build/piramid_collections--0.3.0.sql: $(sort $(wildcard sql/collections/*.sql))
	@mkdir -p build
	cat $^ >$@

# What was built for one server is not up to date for another.
server := $(shell $(PG_CONFIG) --version --includedir-server)
$(OBJS) $(OBJS:.o=.bc): build/server
build/server: always
	@mkdir -p build && { echo '$(server)' | cmp -s - $@ || echo '$(server)' >$@; }
.PHONY: always

# The extension "vector" that is piramid, for those who want it; see compat/.
vector_scripts = sql/piramid--0.1.0.sql sql/piramid--0.1.0--0.2.0.sql sql/piramid--0.2.0--0.3.0.sql
extension_dir = $(DESTDIR)$(datadir)/extension
vector_library = $(DESTDIR)$(pkglibdir)/vector$(DLSUFFIX)

.PHONY: install-vector-compat uninstall-vector-compat
install-vector-compat:
	FORCE=$(FORCE) compat/install install '$(extension_dir)' '$(vector_library)' $(vector_scripts)
uninstall-vector-compat:
	compat/install uninstall '$(extension_dir)' '$(vector_library)'

# The companion program, in a virtual environment; see docs/embedding.md.
PREFIX = /opt/piramid
.PHONY: install-server
install-server:
	server/install '$(PREFIX)' $(PIP_OPTIONS)

# Packages for Debian and Ubuntu; see docs/install.md.
DEBS = build/deb
.PHONY: deb
deb:
	debian/build '$(DEBS)'
