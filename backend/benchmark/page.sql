SELECT json_build_object('results', json_agg(page)) FROM (
    SELECT to_jsonb(contact) - 'search_text' AS contact,
        json_build_object(
            'id', owner.id, 'email', owner.email,
            'first_name', owner.first_name, 'last_name', owner.last_name
        ) AS owner
    FROM contact_management_contact AS contact
    LEFT JOIN user_management_user AS owner ON owner.id = contact.owner_id
    WHERE contact.organization_id = :organization::uuid AND contact.deleted_at IS NULL
    ORDER BY contact.created_at DESC, contact.id DESC
    LIMIT 25
) AS page;
