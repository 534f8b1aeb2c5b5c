# Word lists: hashes of strings and of arrays, grown, thinned out and rebuilt.
use strict;
use warnings;

my (%seen, %index);
for my $round (1 .. 3) {
    for my $i (1 .. 9000) {
        my $word = "word" . ($i * 7919 % 10007);
        $seen{$word} .= "x" x ($i % 90);
        push @{ $index{ length $seen{$word} } }, $word;
    }
    delete @seen{ grep { length $seen{$_} > 60 } keys %seen };
    delete @index{ grep { $_ % 3 == $round % 3 } keys %index };
    my $text = join ",", sort keys %seen;
    my @parts = map { uc } split /,/, $text;
    @parts = ();
}
print scalar(keys %seen), "\n";
