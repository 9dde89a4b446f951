# PostgreSQL's image with piramid in it; docs/install.md tells how to use it.
ARG PG_MAJOR=17

FROM postgres:$PG_MAJOR AS build
ARG PG_MAJOR
RUN apt-get update && apt-get install -y --no-install-recommends build-essential postgresql-server-dev-$PG_MAJOR
COPY . /piramid
WORKDIR /piramid
RUN make with_llvm=no PG_CONFIG=/usr/lib/postgresql/$PG_MAJOR/bin/pg_config \
	DESTDIR=/install all install install-vector-compat

FROM postgres:$PG_MAJOR
COPY --from=build /install /
