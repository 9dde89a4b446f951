$piramid$;
END
$vector$;
