-- The mailbox domains to which most e-mails of the period were sent.
select
    mailbox_domain as name,
    sum(attempted)::bigint as attempted,
    sum(delivered)::bigint as delivered,
    sum(bounced)::bigint as bounced,
    sum(complained)::bigint as complained,
    sum(opened)::bigint as opened,
    sum(human_opened)::bigint as human_opened
from mailbox_domain_days
where delivery_day between %(first)s and %(last)s and mailbox_domain is not null
group by mailbox_domain
having sum(attempted) > 0
order by sum(attempted) desc, mailbox_domain asc
limit 7
