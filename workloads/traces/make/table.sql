-- An order table: filled, indexed, thinned out, filled again, queried.
pragma cache_size = -800;
create table orders(id integer primary key, customer text, note text, amount real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 24000)
insert into orders
select i, 'customer ' || (i * 7919 % 1700), substr('no remarks, deliver on time ', 1, i % 28), i * 1.25
from n;
create index by_customer on orders(customer);
delete from orders where id % 3 = 0;
with recursive n(i) as (select 24001 union all select i + 1 from n where i < 32000)
insert into orders select i, 'customer ' || (i * 104729 % 1900), 'late', i * 0.75 from n;
update orders set note = note || ' / checked' where amount > 5000;
select customer, count(*), sum(amount), group_concat(note) from orders
group by customer order by 3 desc limit 2;
select count(*) from orders a join orders b on a.customer = b.customer where a.id < b.id;
