/*-------------------------------------------------------------------------
 *
 * replay.c
 *		Feeds files to a fuzz target, for compilers without a fuzzer.
 *
 * Usage: PROGRAM FILE...
 *
 *-------------------------------------------------------------------------
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
	{
		FILE	   *file = fopen(argv[i], "rb");
		uint8_t    *data;
		long		size;

		if (file == NULL || fseek(file, 0, SEEK_END) != 0 ||
			(size = ftell(file)) < 0 || fseek(file, 0, SEEK_SET) != 0)
		{
			perror(argv[i]);
			return 1;
		}
		/* of exactly that size: nothing may be read beyond it */
		data = malloc(size);
		if (fread(data, 1, size, file) != (size_t) size)
		{
			perror(argv[i]);
			return 1;
		}
		fclose(file);
		fprintf(stderr, "%s\n", argv[i]);
		LLVMFuzzerTestOneInput(data, size);
		free(data);
	}
	fprintf(stderr, "%d inputs\n", argc - 1);
	return 0;
}
